//! Known edge cases of aws-auth texts: anchors and aliases, several documents, line breaks, byte order marks and tabs,
//! empty sections, JSON and flow style. Edge cases of the ConfigMap itself are tested in `plan::entries`.

use super::edits::edit_and_verify;
use crate::state::aws_auth::{
    EditError, Entry, EntryEdit, EntryPrincipal, NewEntry, Section, edit_section, parse_section,
};

const ARN: &str = "arn:aws:iam::111122223333:role/new";

fn role_entry(arn: &str, username: &str, groups: &[&str]) -> NewEntry {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Entry { principal: EntryPrincipal::Role(arn.to_owned()), username: username.to_owned(), groups }
}

#[track_caller]
fn edit_roles(text: &str, edits: &[EntryEdit]) -> String {
    edit_and_verify(Section::Roles, text, edits).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[track_caller]
fn add_role(text: &str) -> String {
    edit_roles(text, &[EntryEdit::Add(role_entry(ARN, "new", &["g"]))])
}

#[track_caller]
fn edit_error(text: &str, edits: &[EntryEdit]) -> EditError {
    edit_and_verify(Section::Roles, text, edits).unwrap_err()
}

fn change_entry(index: usize, to: NewEntry) -> [EntryEdit; 1] {
    [EntryEdit::Change { index, entry: to }]
}

const ANCHORED: &str =
    "- rolearn: a\n  username: &name a\n  groups: &groups\n  - x\n- rolearn: b\n  username: *name\n  groups: *groups\n";

#[test]
fn value_with_an_alias_in_another_entry_is_neither_changed_nor_removed() {
    let in_use =
        |error: EditError, anchor: &str| matches!(error, EditError::AnchorInUse { anchor: a, .. } if a == anchor);
    assert!(in_use(edit_error(ANCHORED, &change_entry(0, role_entry("a", "other", &["x"]))), "name"));
    assert!(in_use(edit_error(ANCHORED, &change_entry(0, role_entry("a", "a", &["z"]))), "groups"));
    assert!(in_use(edit_error(ANCHORED, &change_entry(0, role_entry("a", "a", &[]))), "groups"));
    assert!(in_use(edit_error(ANCHORED, &[EntryEdit::Remove { index: 0 }]), "name"));
}

#[test]
fn entry_with_aliases_changes_without_the_anchored_entry() {
    let text = edit_roles(ANCHORED, &change_entry(1, role_entry("b", "b", &["x", "z"])));
    let kept = ANCHORED.split("- rolearn: b").next().unwrap();
    assert_eq!(text, format!("{kept}- rolearn: b\n  username: b\n  groups:\n  - x\n  - z\n"));
    let text = edit_roles(ANCHORED, &[EntryEdit::Remove { index: 0 }, EntryEdit::Remove { index: 1 }]);
    assert_eq!(text, "[]\n");
}

#[test]
fn merged_field_is_overridden_in_the_entry_and_kept_in_its_source() {
    let text = "- &base\n  rolearn: a\n  username: u\n  groups: [x]\n- <<: *base\n  rolearn: b\n";
    let changed = edit_roles(text, &change_entry(1, role_entry("b", "u", &["z"])));
    assert_eq!(changed, format!("{text}  groups:\n    - z\n"));
    assert!(matches!(edit_error(text, &change_entry(0, role_entry("a", "v", &["x"]))), EditError::AnchorInUse { .. }));
    assert!(matches!(edit_error(text, &[EntryEdit::Remove { index: 0 }]), EditError::AnchorInUse { .. }));
}

#[test]
fn entry_that_is_an_alias_can_be_removed_but_not_changed() {
    let text = "- &one\n  rolearn: a\n  username: u\n- *one\n";
    assert_eq!(edit_error(text, &change_entry(1, role_entry("a", "v", &[]))), EditError::EntryIsAlias { line: 4 });
    assert_eq!(edit_roles(text, &[EntryEdit::Remove { index: 1 }]), "- &one\n  rolearn: a\n  username: u\n");
}

#[test]
fn anchor_that_only_its_own_entry_uses_is_removed_with_the_entry() {
    let text = "- rolearn: a\n  username: &n a\n  groups: [*n, x]\n- rolearn: b\n";
    assert_eq!(edit_roles(text, &[EntryEdit::Remove { index: 0 }]), "- rolearn: b\n");
    assert!(matches!(
        edit_error(text, &change_entry(0, role_entry("a", "c", &["a", "x"]))),
        EditError::AnchorInUse { .. }
    ));
}

#[test]
fn second_document_is_kept_and_new_entry_is_added_to_the_first() {
    let second = "---\n- rolearn: {{broken\n";
    let text = format!("- rolearn: a\n{second}");
    let new = format!("- rolearn: {ARN}\n  username: new\n  groups:\n    - g\n");
    assert_eq!(add_role(&text), format!("- rolearn: a\n{new}{second}"));
    assert_eq!(add_role(&format!("--- []\n{second}")), format!("---\n{new}{second}"));
    assert_eq!(add_role(&format!("---\n{second}")), format!("---\n{new}{second}"));
}

#[test]
fn new_entry_has_the_line_breaks_and_indentation_of_the_others() {
    let crlf = "  -  rolearn: a\r\n     groups:\r\n      -  x\r\n";
    let new = format!("  -  rolearn: {ARN}\r\n     username: new\r\n     groups:\r\n      -  g\r\n");
    assert_eq!(add_role(crlf), format!("{crlf}{new}"));
    let old_mac = "- rolearn: a\r";
    assert_eq!(add_role(old_mac), format!("{old_mac}- rolearn: {ARN}\r  username: new\r  groups:\r    - g\r"));
}

#[test]
fn text_without_final_newline_stays_without_it() {
    let text = "- rolearn: a\n  groups:\n  - x";
    assert_eq!(add_role(text), format!("{text}\n- rolearn: {ARN}\n  username: new\n  groups:\n  - g"));
    let changed = edit_roles(text, &change_entry(0, role_entry("a", "", &["x", "z"])));
    assert_eq!(changed, format!("{text}\n  - z"));
}

#[test]
fn byte_order_mark_stays_at_the_start() {
    assert!(add_role("\u{feff}- rolearn: a\n").starts_with("\u{feff}- rolearn: a\n- rolearn: "));
    assert_eq!(
        edit_roles("\u{feff}- rolearn: a\n- rolearn: b\n", &[EntryEdit::Remove { index: 0 }]),
        "\u{feff}- rolearn: b\n"
    );
    assert_eq!(edit_roles("\u{feff}- rolearn: a\n", &[EntryEdit::Remove { index: 0 }]), "\u{feff}[]\n");
    assert!(add_role("\u{feff}[]\n").starts_with("\u{feff}- rolearn: "));
}

#[test]
fn tabs_are_kept_where_yaml_allows_them_and_are_an_error_elsewhere() {
    let text = "- rolearn:\ta\t# c\n  username: \"u\tv\"\n";
    assert!(add_role(text).starts_with(text));
    let error = parse_section(Section::Roles, "- rolearn: a\n\tusername: u\n").unwrap_err();
    assert_eq!((error.line, error.column, error.source_line.as_str()), (2, 1, "\tusername: u"));
    let unreadable = edit_section(Section::Roles, Some("- rolearn: a\n\tusername: u\n"), &[]).unwrap_err();
    assert_eq!(unreadable, EditError::UnreadableSection(error));
}

#[test]
fn first_entry_replaces_an_empty_list_or_null() {
    let new = format!("- rolearn: {ARN}\n  username: new\n  groups:\n    - g\n");
    let without_newline = new.trim_end();
    for (text, expected) in [
        ("", new.clone()),
        ("\n", format!("\n{new}")),
        ("``", new.clone()),
        ("\"\"", new.clone()),
        ("''\n", new.clone()),
        ("[]", without_newline.to_owned()),
        ("[ ]\n", new.clone()),
        ("null\n", new.clone()),
        ("~", without_newline.to_owned()),
        ("# c\n", format!("# c\n{new}")),
        ("# c", format!("# c\n{without_newline}")),
        ("# c\n[] # d\n# e\n", format!("# c\n# d\n{new}# e\n")),
        ("[\n  # c\n]\n", format!("  # c\n{new}")),
        ("[ # c\n]\n", format!("# c\n{new}")),
        ("--- [] # c\n", format!("--- # c\n{new}")),
        ("---\n", format!("---\n{new}")),
        ("---", format!("---\n{without_newline}")),
        ("!!seq []\n", new.clone()),
        ("&a []\n", new.clone()),
    ] {
        assert_eq!(add_role(text), expected, "{text:?}");
    }
    let absent_key = edit_section(Section::Roles, None, &[EntryEdit::Add(role_entry(ARN, "new", &["g"]))]);
    assert_eq!(absent_key, Ok(new));
}

#[test]
fn edited_json_is_still_json() {
    let text = "[{\"rolearn\": \"a\", \"username\": \"u\", \"groups\": [\"x\"]}, {\"rolearn\": \"b\"}]";
    let edits = [
        EntryEdit::Change { index: 0, entry: role_entry("a", "yes", &["x", "z"]) },
        EntryEdit::Remove { index: 1 },
        EntryEdit::Add(role_entry(ARN, "{{SessionName}}", &["g"])),
    ];
    let json = edit_roles(text, &edits);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        value,
        serde_json::json!([
            {"rolearn": "a", "username": "yes", "groups": ["x", "z"]},
            {"rolearn": ARN, "username": "{{SessionName}}", "groups": ["g"]},
        ])
    );
    let emptied = edit_roles(text, &[EntryEdit::Remove { index: 0 }, EntryEdit::Remove { index: 1 }]);
    assert_eq!(emptied, "[]");
}

#[test]
fn value_of_wrong_type_with_comments_is_not_replaced() {
    let text = "- rolearn: a\n  username:\n  - b\n  # c\n  - d\n";
    assert!(matches!(
        edit_error(text, &change_entry(0, role_entry("a", "u", &[]))),
        EditError::UnsupportedLayout { line: 1, .. }
    ));
    let text = "- rolearn: a\n  groups:\n    b: c # d\n    e: f\n";
    assert!(matches!(
        edit_error(text, &change_entry(0, role_entry("a", "", &["g"]))),
        EditError::UnsupportedLayout { line: 1, .. }
    ));
    let text = "- rolearn: a\n  username:\n  - b\n  - d\n";
    assert_eq!(edit_roles(text, &change_entry(0, role_entry("a", "u", &[]))), "- rolearn: a\n  username: u\n");
}

#[test]
fn edited_flow_style_is_still_flow_style() {
    let text = "[{rolearn: a, groups: [x]}, {rolearn: b}] # c\n";
    let new = format!("{{rolearn: {ARN}, username: new, groups: [g]}}");
    assert_eq!(add_role(text), format!("[{{rolearn: a, groups: [x]}}, {{rolearn: b}}, {new}] # c\n"));
    let block = "- {rolearn: a, groups: [x]}\n";
    assert_eq!(add_role(block), format!("{block}- {new}\n"));
    let changed = edit_roles(block, &change_entry(0, role_entry("a", "{{X}}", &["x", "a, b"])));
    assert_eq!(changed, "- {rolearn: a, groups: [x, \"a, b\"], username: \"{{X}}\"}\n");
}
