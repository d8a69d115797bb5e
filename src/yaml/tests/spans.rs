//! The byte range of every node, which the edits of the text depend on.

use crate::yaml::{YamlNode, YamlValue, parse_first_document};

/// Returns the source of every node, in the order of the text.
fn node_texts(text: &str) -> Vec<String> {
    let document = parse_first_document(text).unwrap().unwrap();
    let mut pieces = Vec::new();
    document.root.walk(&mut |node: &YamlNode| pieces.push(text[node.span.clone()].to_owned()));
    pieces
}

#[test]
fn node_span_covers_its_content_only() {
    let text = "# c\n- a: b # d\n  e:\n  - 'f' # g\n\n# h\n- [i, \"j\"] # k\n";
    let first = "a: b # d\n  e:\n  - 'f'";
    let root = format!("- {first} # g\n\n# h\n- [i, \"j\"]");
    let root = root.as_str();
    assert_eq!(node_texts(text), [root, first, "a", "b", "e", "- 'f'", "'f'", "[i, \"j\"]", "i", "\"j\""]);
}

#[test]
fn node_span_includes_tag_and_anchor() {
    assert_eq!(node_texts("- &a !!str b\n- *a\n"), ["- &a !!str b\n- *a", "&a !!str b", "*a"]);
    assert_eq!(node_texts("&r\n- &e\n"), ["&r\n- &e", "&e"]);
}

#[test]
fn block_scalar_span_excludes_blank_lines_unless_kept() {
    assert_eq!(node_texts("- |\n  a\n  b\n\n\n- c")[1], "|\n  a\n  b");
    assert_eq!(node_texts("- >-\n  a\n\n# c\n")[1], ">-\n  a");
    assert_eq!(node_texts("- |+\n  a\n\n\n- c")[1], "|+\n  a\n\n");
}

#[test]
fn empty_node_has_position_and_empty_span() {
    let text = "- a:\n-\n- b: c\n";
    let document = parse_first_document(text).unwrap().unwrap();
    let YamlValue::Sequence(list) = &document.root.value else { panic!("{document:?}") };
    assert!(list.items[1].node.is_empty());
    assert_eq!(list.items[1].dash, Some(5));
    let YamlValue::Mapping(mapping) = &list.items[0].node.value else { panic!("{list:?}") };
    assert!(mapping.pairs[0].value.is_empty());
    assert_eq!(mapping.pairs[0].span(), 2..4);
    assert_eq!((list.items[2].node.line, list.items[2].node.column), (3, 2));
}

#[test]
fn offsets_of_commas_colons_and_question_marks_are_recorded() {
    let document = parse_first_document("[{? a : b, c}, d ,]").unwrap().unwrap();
    let YamlValue::Sequence(list) = &document.root.value else { panic!("{document:?}") };
    let commas: Vec<_> = list.items.iter().map(|item| item.comma).collect();
    assert_eq!(commas, [Some(13), Some(17)]);
    let YamlValue::Mapping(mapping) = &list.items[0].node.value else { panic!("{list:?}") };
    let pairs: Vec<_> =
        mapping.pairs.iter().map(|pair| (pair.question_mark, pair.colon, pair.comma, pair.span())).collect();
    assert_eq!(pairs, [(Some(2), Some(6), Some(9), 2..9), (None, None, None, 11..12)]);
}

#[test]
fn document_span_includes_directives_and_body_starts_after_marker() {
    let text = "%YAML 1.1\n# a\n--- # b\n- c\n# d\n---\n- e\n";
    let document = parse_first_document(text).unwrap().unwrap();
    assert_eq!(&text[document.span.clone()], "%YAML 1.1\n# a\n--- # b\n- c\n# d\n");
    assert_eq!(&text[document.body.clone()], " # b\n- c\n# d\n");
}
