//! Traps 19 to 22 of how aws-auth behaves, each by its fact. 23 and 24 are about the ConfigMap: see `plan::entries`.

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
fn what_another_entry_takes_by_an_alias_is_neither_changed_nor_removed() {
    let in_use =
        |error: EditError, anchor: &str| matches!(error, EditError::AnchorInUse { anchor: a, .. } if a == anchor);
    assert!(in_use(edit_error(ANCHORED, &change_entry(0, role_entry("a", "other", &["x"]))), "name"));
    assert!(in_use(edit_error(ANCHORED, &change_entry(0, role_entry("a", "a", &["z"]))), "groups"));
    assert!(in_use(edit_error(ANCHORED, &change_entry(0, role_entry("a", "a", &[]))), "groups"));
    assert!(in_use(edit_error(ANCHORED, &[EntryEdit::Remove { index: 0 }]), "name"));
}

#[test]
fn an_entry_that_takes_by_aliases_changes_by_itself() {
    let text = edit_roles(ANCHORED, &change_entry(1, role_entry("b", "b", &["x", "z"])));
    let kept = ANCHORED.split("- rolearn: b").next().unwrap();
    assert_eq!(text, format!("{kept}- rolearn: b\n  username: b\n  groups:\n  - x\n  - z\n"));
    let text = edit_roles(ANCHORED, &[EntryEdit::Remove { index: 0 }, EntryEdit::Remove { index: 1 }]);
    assert_eq!(text, "[]\n");
}

#[test]
fn a_merged_field_is_overruled_in_the_entry_and_stays_in_its_source() {
    let text = "- &base\n  rolearn: a\n  username: u\n  groups: [x]\n- <<: *base\n  rolearn: b\n";
    let changed = edit_roles(text, &change_entry(1, role_entry("b", "u", &["z"])));
    assert_eq!(changed, format!("{text}  groups:\n    - z\n"));
    assert!(matches!(edit_error(text, &change_entry(0, role_entry("a", "v", &["x"]))), EditError::AnchorInUse { .. }));
    assert!(matches!(edit_error(text, &[EntryEdit::Remove { index: 0 }]), EditError::AnchorInUse { .. }));
}

#[test]
fn an_entry_that_is_an_alias_of_another_goes_but_does_not_change() {
    let text = "- &one\n  rolearn: a\n  username: u\n- *one\n";
    assert_eq!(edit_error(text, &change_entry(1, role_entry("a", "v", &[]))), EditError::EntryIsAlias { line: 4 });
    assert_eq!(edit_roles(text, &[EntryEdit::Remove { index: 1 }]), "- &one\n  rolearn: a\n  username: u\n");
}

#[test]
fn an_anchor_that_only_its_own_entry_uses_goes_with_it() {
    let text = "- rolearn: a\n  username: &n a\n  groups: [*n, x]\n- rolearn: b\n";
    assert_eq!(edit_roles(text, &[EntryEdit::Remove { index: 0 }]), "- rolearn: b\n");
    assert!(matches!(
        edit_error(text, &change_entry(0, role_entry("a", "c", &["a", "x"]))),
        EditError::AnchorInUse { .. }
    ));
}

#[test]
fn a_second_document_stays_and_the_new_entry_stands_in_the_first() {
    let second = "---\n- rolearn: {{broken\n";
    let text = format!("- rolearn: a\n{second}");
    let new = format!("- rolearn: {ARN}\n  username: new\n  groups:\n    - g\n");
    assert_eq!(add_role(&text), format!("- rolearn: a\n{new}{second}"));
    assert_eq!(add_role(&format!("--- []\n{second}")), format!("---\n{new}{second}"));
    assert_eq!(add_role(&format!("---\n{second}")), format!("---\n{new}{second}"));
}

#[test]
fn the_new_entry_has_the_line_ends_and_the_indentation_of_the_others() {
    let crlf = "  -  rolearn: a\r\n     groups:\r\n      -  x\r\n";
    let new = format!("  -  rolearn: {ARN}\r\n     username: new\r\n     groups:\r\n      -  g\r\n");
    assert_eq!(add_role(crlf), format!("{crlf}{new}"));
    let old_mac = "- rolearn: a\r";
    assert_eq!(add_role(old_mac), format!("{old_mac}- rolearn: {ARN}\r  username: new\r  groups:\r    - g\r"));
}

#[test]
fn a_text_without_a_final_newline_gets_none() {
    let text = "- rolearn: a\n  groups:\n  - x";
    assert_eq!(add_role(text), format!("{text}\n- rolearn: {ARN}\n  username: new\n  groups:\n  - g"));
    let changed = edit_roles(text, &change_entry(0, role_entry("a", "", &["x", "z"])));
    assert_eq!(changed, format!("{text}\n  - z"));
}

#[test]
fn a_byte_order_mark_stays_first() {
    assert!(add_role("\u{feff}- rolearn: a\n").starts_with("\u{feff}- rolearn: a\n- rolearn: "));
    assert_eq!(
        edit_roles("\u{feff}- rolearn: a\n- rolearn: b\n", &[EntryEdit::Remove { index: 0 }]),
        "\u{feff}- rolearn: b\n"
    );
    assert_eq!(edit_roles("\u{feff}- rolearn: a\n", &[EntryEdit::Remove { index: 0 }]), "\u{feff}[]\n");
    assert!(add_role("\u{feff}[]\n").starts_with("\u{feff}- rolearn: "));
}

#[test]
fn tabs_stay_where_yaml_takes_them_and_break_the_section_where_it_does_not() {
    let text = "- rolearn:\ta\t# c\n  username: \"u\tv\"\n";
    assert!(add_role(text).starts_with(text));
    let error = parse_section(Section::Roles, "- rolearn: a\n\tusername: u\n").unwrap_err();
    assert_eq!((error.line, error.column, error.source_line.as_str()), (2, 1, "\tusername: u"));
    let unreadable = edit_section(Section::Roles, Some("- rolearn: a\n\tusername: u\n"), &[]).unwrap_err();
    assert_eq!(unreadable, EditError::UnreadableSection(error));
}

#[test]
fn the_first_entry_takes_the_place_of_what_says_that_there_is_none() {
    let new = format!("- rolearn: {ARN}\n  username: new\n  groups:\n    - g\n");
    let bare = new.trim_end();
    for (text, wanted) in [
        ("", new.clone()),
        ("\n", format!("\n{new}")),
        ("``", new.clone()),
        ("\"\"", new.clone()),
        ("''\n", new.clone()),
        ("[]", bare.to_owned()),
        ("[ ]\n", new.clone()),
        ("null\n", new.clone()),
        ("~", bare.to_owned()),
        ("# c\n", format!("# c\n{new}")),
        ("# c", format!("# c\n{bare}")),
        ("# c\n[] # d\n# e\n", format!("# c\n# d\n{new}# e\n")),
        ("[\n  # c\n]\n", format!("  # c\n{new}")),
        ("[ # c\n]\n", format!("# c\n{new}")),
        ("--- [] # c\n", format!("--- # c\n{new}")),
        ("---\n", format!("---\n{new}")),
        ("---", format!("---\n{bare}")),
        ("!!seq []\n", new.clone()),
        ("&a []\n", new.clone()),
    ] {
        assert_eq!(add_role(text), wanted, "{text:?}");
    }
    let none = edit_section(Section::Roles, None, &[EntryEdit::Add(role_entry(ARN, "new", &["g"]))]);
    assert_eq!(none, Ok(new));
}

#[test]
fn json_is_edited_as_json() {
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
fn a_value_of_the_wrong_type_that_holds_comments_is_not_replaced() {
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
fn flow_style_is_edited_as_flow_style() {
    let text = "[{rolearn: a, groups: [x]}, {rolearn: b}] # c\n";
    let new = format!("{{rolearn: {ARN}, username: new, groups: [g]}}");
    assert_eq!(add_role(text), format!("[{{rolearn: a, groups: [x]}}, {{rolearn: b}}, {new}] # c\n"));
    let block = "- {rolearn: a, groups: [x]}\n";
    assert_eq!(add_role(block), format!("{block}- {new}\n"));
    let changed = edit_roles(block, &change_entry(0, role_entry("a", "{{X}}", &["x", "a, b"])));
    assert_eq!(changed, "- {rolearn: a, groups: [x, \"a, b\"], username: \"{{X}}\"}\n");
}
