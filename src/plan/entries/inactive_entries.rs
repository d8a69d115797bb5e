//! Warnings about elements and keys of aws-auth that have no effect, each with the cause.

use crate::access::{EntryPlace, EntryStatus, IdentityMapping, UnmatchableReason};
use crate::diagnostic::{Diagnostic, closest_match};
use crate::state::aws_auth::{Finding, FindingKind, IgnoredReason, ParsedSection, Section};
use crate::state::config_map::{AwsAuth, principal_text};

/// The keys that the authenticator reads in an entry.
const ENTRY_KEYS: [&str; 4] = ["rolearn", "userarn", "username", "groups"];

/// Returns a warning for each element that the authenticator ignores, and for each key that looks like one that it reads.
pub(super) fn inactive_warnings(section: Section, parsed: &ParsedSection) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    let mut findings = parsed.findings.iter().peekable();
    while let Some(finding) = findings.next() {
        match &finding.kind {
            FindingKind::EntryIgnored(reason) => {
                // The findings of the element follow. They belong to no entry.
                let mut keys = Vec::new();
                while let Some(key) = findings.peek().and_then(|next| key_of_ignored_element(next)) {
                    keys.push(key);
                    findings.next();
                }
                warnings.push(ignored_element(section, finding.line, reason, &keys));
            }
            FindingKind::UnknownKey { key } => warnings.extend(unknown_key(section, parsed, finding, key)),
            _ => {}
        }
    }
    warnings
}

fn key_of_ignored_element(finding: &Finding) -> Option<&str> {
    match &finding.kind {
        FindingKind::UnknownKey { key } if finding.entry_index.is_none() => Some(key),
        _ => None,
    }
}

fn ignored_element(section: Section, line: usize, reason: &IgnoredReason, keys: &[&str]) -> Diagnostic {
    let warning = Diagnostic::warning(format!(
        "aws-auth {section}, line {line}: this entry never matches: the authenticator ignores it"
    ));
    let expected = section.principal_key();
    match reason {
        IgnoredReason::WrongType { found } if section == Section::Accounts => {
            warning.with_because(format!("it is {found}, not an account ID"))
        }
        IgnoredReason::WrongType { found } => warning
            .with_because(format!("it is {found}, not a mapping with the key `{expected}`"))
            .with_help(format!("write the entry as `- {expected}: arn:…`, with one dash")),
        IgnoredReason::MissingPrincipal => {
            let warning = warning.with_because(format!("it has no `{expected}`"));
            let other = if expected == "rolearn" { "userarn" } else { "rolearn" };
            if keys.iter().any(|key| key.eq_ignore_ascii_case(other)) {
                let other_section = if section == Section::Roles { Section::Users } else { Section::Roles };
                return warning.with_help(format!("`{other}` belongs in `{other_section}`: move the entry there"));
            }
            match keys.iter().find(|key| intended_key(key) == Some(expected)) {
                Some(key) => warning.with_help(format!("write `{expected}` instead of `{key}`")),
                None => warning.with_help(format!("add `{expected}`, or delete the entry")),
            }
        }
        IgnoredReason::AmbiguousPrincipal => warning.with_because("it has both `rolearn` and `sso`"),
        IgnoredReason::InvalidAccountId { found } => {
            warning.with_because(format!("`{found}` is not an AWS account ID, which has 12 digits"))
        }
        IgnoredReason::InvalidPermissionSetName { found } => {
            warning.with_because(format!("`{found}` is not the name of a permission set"))
        }
        IgnoredReason::UnknownPartition { found } => warning.with_because(format!("`{found}` is not an AWS partition")),
    }
}

/// Reports a key of an effective entry that the authenticator does not read, if another key was probably intended.
fn unknown_key(section: Section, parsed: &ParsedSection, finding: &Finding, key: &str) -> Option<Diagnostic> {
    let entry = &parsed.entries.get(finding.entry_index?)?.entry;
    let intended = intended_key(key)?;
    let message = format!(
        "aws-auth {section}, line {}: {} has the key `{key}`, which the authenticator ignores",
        finding.line,
        principal_text(entry)
    );
    Some(Diagnostic::warning(message).with_help(format!("did you mean `{intended}`?")))
}

/// Returns the key that a misspelled one stands for, such as `groups` for `group` or `kubernetesGroups`.
fn intended_key(key: &str) -> Option<&'static str> {
    let plain: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let is_suffix = |known: &&&str| plain.ends_with(**known);
    ENTRY_KEYS
        .iter()
        .find(|known| **known == plain)
        .or_else(|| ENTRY_KEYS.iter().find(is_suffix))
        .copied()
        .or_else(|| closest_match(&plain, ENTRY_KEYS))
}

/// Returns a warning for each entry whose principal no IAM identity can have, as far as the plan does not remove it.
/// `is_planned` is whether the policy has an entry for a principal, by its key.
pub(super) fn unmatchable_warnings(
    auth: &AwsAuth,
    is_removed: impl Fn(Section, usize) -> bool,
    is_planned: impl Fn(&str) -> bool,
) -> Vec<Diagnostic> {
    let mapping = IdentityMapping::from_aws_auth(Some(auth));
    let mut warnings = Vec::new();
    for (entry, status) in mapping.statuses() {
        let EntryStatus::Unmatchable(reason) = status else {
            continue;
        };
        let EntryPlace::AwsAuth { section, index, line } = entry.place else {
            continue;
        };
        if is_removed(section, index) {
            continue;
        }
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        let message = format!("aws-auth {section}{line}: {} never matches", entry.principal);
        let warning = Diagnostic::warning(message);
        warnings.push(match reason {
            UnmatchableReason::AwsAuthNotRead => warning.with_because(reason.explain()),
            UnmatchableReason::Sso => warning.with_because(reason.explain()).with_help(
                "add the role AWSReservedSSO_<permission set>_<suffix> to the policy, and delete this entry",
            ),
            UnmatchableReason::NonCanonicalArn { canonical } => {
                let warning = warning.with_because(reason.explain());
                warning.with_help(if is_planned(&canonical.to_lowercase()) {
                    "delete this entry: the policy has an entry with the ARN in this form"
                } else {
                    "add the role to the policy, which writes the ARN in this form, and delete this entry"
                })
            }
            UnmatchableReason::InvalidArn(error) => warning.with_because(error.to_string()).with_help(error.help()),
        });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{VIEWER, config_map, plan_policy, roles};

    #[test]
    fn elements_and_keys_without_effect_are_reported_with_their_cause() {
        let live = config_map(&json!({
            "mapRoles": "- role_arn: arn:aws:iam::111122223333:role/a\n  username: a\n\
                         - userarn: arn:aws:iam::111122223333:user/b\n\
                         - - groups: [x]\n\
                         - rolearn: arn:aws:iam::111122223333:role/c\n  group: [x]\n\
                         - rolearn: arn:aws:iam::111122223333:role/d\n  kubernetesGroups: [x]\n  comment: y\n\
                         - rolearn: arn:aws:iam::111122223333:role/team/e\n  username: e\n\
                         - rolearn: arn:aws:sts::111122223333:assumed-role/f/session\n\
                         - username: g\n",
            "map_roles": "[]",
            "mapRole": "[]",
            "notes": "x",
        }));
        let warnings = plan_policy("", &live).warnings;
        let lines: Vec<String> = warnings
            .iter()
            .map(|warning| {
                let notes: Vec<&str> = warning.notes.iter().map(|note| note.text.as_str()).collect();
                format!("{}\n  {}", warning.message, notes.join("\n  "))
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        aws-auth mapRoles, line 1: this entry never matches: the authenticator ignores it
          it has no `rolearn`
          write `rolearn` instead of `role_arn`
        aws-auth mapRoles, line 3: this entry never matches: the authenticator ignores it
          it has no `rolearn`
          `userarn` belongs in `mapUsers`: move the entry there
        aws-auth mapRoles, line 4: this entry never matches: the authenticator ignores it
          it is a list, not a mapping with the key `rolearn`
          write the entry as `- rolearn: arn:…`, with one dash
        aws-auth mapRoles, line 6: arn:aws:iam::111122223333:role/c has the key `group`, which the authenticator ignores
          did you mean `groups`?
        aws-auth mapRoles, line 8: arn:aws:iam::111122223333:role/d has the key `kubernetesGroups`, which the authenticator ignores
          did you mean `groups`?
        aws-auth mapRoles, line 13: this entry never matches: the authenticator ignores it
          it has no `rolearn`
          add `rolearn`, or delete the entry
        aws-auth key `mapRole` is ignored: the authenticator only reads `mapRoles`
          move its entries to `mapRoles`, or delete the key
        aws-auth key `map_roles` is ignored: the authenticator only reads `mapRoles`
          move its entries to `mapRoles`, or delete the key
        aws-auth mapRoles, line 10: arn:aws:iam::111122223333:role/team/e never matches
          the authenticator receives the ARN arn:aws:iam::111122223333:role/e
          add the role to the policy, which writes the ARN in this form, and delete this entry
        aws-auth mapRoles, line 12: arn:aws:sts::111122223333:assumed-role/f/session never matches
          the authenticator receives the ARN arn:aws:iam::111122223333:role/f
          add the role to the policy, which writes the ARN in this form, and delete this entry
        ");
    }

    #[test]
    fn entry_with_the_path_of_a_planned_role_is_reported() {
        let live = roles("- rolearn: arn:aws:iam::111122223333:role/team/viewer\n  username: viewer\n");
        let warnings = plan_policy(VIEWER, &live).warnings;
        let help = warnings.iter().flat_map(|warning| &warning.notes).map(|note| note.text.as_str());
        assert!(help.into_iter().any(|text| text.starts_with("delete this entry: the policy has")), "{warnings:#?}");
    }
}
