//! Traps 19 to 22 of how aws-auth behaves, each by its fact. 23 and 24 are about the ConfigMap: see `plan::entries`.

use super::edits::tried;
use crate::state::aws_auth::{Edit, EditError, Entry, New, Principal, Section, edit, read};

const ARN: &str = "arn:aws:iam::111122223333:role/new";

fn role(arn: &str, username: &str, groups: &[&str]) -> New {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Entry { principal: Principal::Role(arn.to_owned()), username: username.to_owned(), groups }
}

#[track_caller]
fn edited(text: &str, edits: &[Edit]) -> String {
    tried(Section::Roles, text, edits).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[track_caller]
fn added(text: &str) -> String {
    edited(text, &[Edit::Add(role(ARN, "new", &["g"]))])
}

#[track_caller]
fn refused(text: &str, edits: &[Edit]) -> EditError {
    tried(Section::Roles, text, edits).unwrap_err()
}

fn change(index: usize, to: New) -> [Edit; 1] {
    [Edit::Change { index, to }]
}

const ANCHORED: &str =
    "- rolearn: a\n  username: &name a\n  groups: &groups\n  - x\n- rolearn: b\n  username: *name\n  groups: *groups\n";

#[test]
fn what_another_entry_takes_by_an_alias_is_neither_changed_nor_removed() {
    let in_use =
        |error: EditError, anchor: &str| matches!(error, EditError::AnchorInUse { anchor: a, .. } if a == anchor);
    assert!(in_use(refused(ANCHORED, &change(0, role("a", "other", &["x"]))), "name"));
    assert!(in_use(refused(ANCHORED, &change(0, role("a", "a", &["z"]))), "groups"));
    assert!(in_use(refused(ANCHORED, &change(0, role("a", "a", &[]))), "groups"));
    assert!(in_use(refused(ANCHORED, &[Edit::Remove { index: 0 }]), "name"));
}

#[test]
fn an_entry_that_takes_by_aliases_changes_by_itself() {
    let text = edited(ANCHORED, &change(1, role("b", "b", &["x", "z"])));
    let kept = ANCHORED.split("- rolearn: b").next().unwrap();
    assert_eq!(text, format!("{kept}- rolearn: b\n  username: b\n  groups:\n  - x\n  - z\n"));
    let text = edited(ANCHORED, &[Edit::Remove { index: 0 }, Edit::Remove { index: 1 }]);
    assert_eq!(text, "[]\n");
}

#[test]
fn a_merged_field_is_overruled_in_the_entry_and_stays_in_its_source() {
    let text = "- &base\n  rolearn: a\n  username: u\n  groups: [x]\n- <<: *base\n  rolearn: b\n";
    let changed = edited(text, &change(1, role("b", "u", &["z"])));
    assert_eq!(changed, format!("{text}  groups:\n    - z\n"));
    assert!(matches!(refused(text, &change(0, role("a", "v", &["x"]))), EditError::AnchorInUse { .. }));
    assert!(matches!(refused(text, &[Edit::Remove { index: 0 }]), EditError::AnchorInUse { .. }));
}

#[test]
fn an_entry_that_is_an_alias_of_another_goes_but_does_not_change() {
    let text = "- &one\n  rolearn: a\n  username: u\n- *one\n";
    assert_eq!(refused(text, &change(1, role("a", "v", &[]))), EditError::EntryIsAlias { line: 4 });
    assert_eq!(edited(text, &[Edit::Remove { index: 1 }]), "- &one\n  rolearn: a\n  username: u\n");
}

#[test]
fn an_anchor_that_only_its_own_entry_uses_goes_with_it() {
    let text = "- rolearn: a\n  username: &n a\n  groups: [*n, x]\n- rolearn: b\n";
    assert_eq!(edited(text, &[Edit::Remove { index: 0 }]), "- rolearn: b\n");
    assert!(matches!(refused(text, &change(0, role("a", "c", &["a", "x"]))), EditError::AnchorInUse { .. }));
}

#[test]
fn a_second_document_stays_and_the_new_entry_stands_in_the_first() {
    let second = "---\n- rolearn: {{broken\n";
    let text = format!("- rolearn: a\n{second}");
    let new = format!("- rolearn: {ARN}\n  username: new\n  groups:\n    - g\n");
    assert_eq!(added(&text), format!("- rolearn: a\n{new}{second}"));
    assert_eq!(added(&format!("--- []\n{second}")), format!("---\n{new}{second}"));
    assert_eq!(added(&format!("---\n{second}")), format!("---\n{new}{second}"));
}

#[test]
fn the_new_entry_has_the_line_ends_and_the_indentation_of_the_others() {
    let crlf = "  -  rolearn: a\r\n     groups:\r\n      -  x\r\n";
    let new = format!("  -  rolearn: {ARN}\r\n     username: new\r\n     groups:\r\n      -  g\r\n");
    assert_eq!(added(crlf), format!("{crlf}{new}"));
    let old_mac = "- rolearn: a\r";
    assert_eq!(added(old_mac), format!("{old_mac}- rolearn: {ARN}\r  username: new\r  groups:\r    - g\r"));
}

#[test]
fn a_text_without_a_final_newline_gets_none() {
    let text = "- rolearn: a\n  groups:\n  - x";
    assert_eq!(added(text), format!("{text}\n- rolearn: {ARN}\n  username: new\n  groups:\n  - g"));
    let changed = edited(text, &change(0, role("a", "", &["x", "z"])));
    assert_eq!(changed, format!("{text}\n  - z"));
}

#[test]
fn a_byte_order_mark_stays_first() {
    assert!(added("\u{feff}- rolearn: a\n").starts_with("\u{feff}- rolearn: a\n- rolearn: "));
    assert_eq!(edited("\u{feff}- rolearn: a\n- rolearn: b\n", &[Edit::Remove { index: 0 }]), "\u{feff}- rolearn: b\n");
    assert_eq!(edited("\u{feff}- rolearn: a\n", &[Edit::Remove { index: 0 }]), "\u{feff}[]\n");
    assert!(added("\u{feff}[]\n").starts_with("\u{feff}- rolearn: "));
}

#[test]
fn tabs_stay_where_yaml_takes_them_and_break_the_section_where_it_does_not() {
    let text = "- rolearn:\ta\t# c\n  username: \"u\tv\"\n";
    assert!(added(text).starts_with(text));
    let error = read(Section::Roles, "- rolearn: a\n\tusername: u\n").unwrap_err();
    assert_eq!((error.line, error.column, error.source_line.as_str()), (2, 1, "\tusername: u"));
    let unreadable = edit(Section::Roles, Some("- rolearn: a\n\tusername: u\n"), &[]).unwrap_err();
    assert_eq!(unreadable, EditError::Unreadable(error));
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
        assert_eq!(added(text), wanted, "{text:?}");
    }
    let none = edit(Section::Roles, None, &[Edit::Add(role(ARN, "new", &["g"]))]);
    assert_eq!(none, Ok(new));
}

#[test]
fn json_is_edited_as_json() {
    let text = "[{\"rolearn\": \"a\", \"username\": \"u\", \"groups\": [\"x\"]}, {\"rolearn\": \"b\"}]";
    let edits = [
        Edit::Change { index: 0, to: role("a", "yes", &["x", "z"]) },
        Edit::Remove { index: 1 },
        Edit::Add(role(ARN, "{{SessionName}}", &["g"])),
    ];
    let json = edited(text, &edits);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        value,
        serde_json::json!([
            {"rolearn": "a", "username": "yes", "groups": ["x", "z"]},
            {"rolearn": ARN, "username": "{{SessionName}}", "groups": ["g"]},
        ])
    );
    let emptied = edited(text, &[Edit::Remove { index: 0 }, Edit::Remove { index: 1 }]);
    assert_eq!(emptied, "[]");
}

#[test]
fn a_value_of_the_wrong_type_that_holds_comments_is_not_replaced() {
    let text = "- rolearn: a\n  username:\n  - b\n  # c\n  - d\n";
    assert!(matches!(refused(text, &change(0, role("a", "u", &[]))), EditError::Layout { line: 1, .. }));
    let text = "- rolearn: a\n  groups:\n    b: c # d\n    e: f\n";
    assert!(matches!(refused(text, &change(0, role("a", "", &["g"]))), EditError::Layout { line: 1, .. }));
    let text = "- rolearn: a\n  username:\n  - b\n  - d\n";
    assert_eq!(edited(text, &change(0, role("a", "u", &[]))), "- rolearn: a\n  username: u\n");
}

#[test]
fn flow_style_is_edited_as_flow_style() {
    let text = "[{rolearn: a, groups: [x]}, {rolearn: b}] # c\n";
    let new = format!("{{rolearn: {ARN}, username: new, groups: [g]}}");
    assert_eq!(added(text), format!("[{{rolearn: a, groups: [x]}}, {{rolearn: b}}, {new}] # c\n"));
    let block = "- {rolearn: a, groups: [x]}\n";
    assert_eq!(added(block), format!("{block}- {new}\n"));
    let changed = edited(block, &change(0, role("a", "{{X}}", &["x", "a, b"])));
    assert_eq!(changed, "- {rolearn: a, groups: [x, \"a, b\"], username: \"{{X}}\"}\n");
}
