//! The parts of an answer: subjects, identities and grant paths, each with the policy line or the policy that manages it.

use super::style::{StyleClass, TextStyle};
use super::terminal_text::TerminalText;
use super::text_util::{columns, escape_control, gap_before_location, padded};
use crate::access::{GrantPath, GrantSource, Identity, MASTERS, SubjectQuery};
use crate::names::ObjectKey;
use crate::policy::{ManagedBy, PolicyIndex};
use crate::report::AnswerContext;
use crate::state::State;

/// The width of the widest label, `not applicable`.
const LABEL_WIDTH: usize = 14;

/// What the text of an answer needs besides the answer.
pub(crate) struct QueryRenderer<'a> {
    pub(crate) cluster: &'a str,
    /// The name of the cluster in the policy.
    pub(crate) cluster_name: Option<&'a str>,
    pub(crate) state: &'a State,
    pub(crate) policy_index: &'a PolicyIndex,
    pub(crate) style: TextStyle,
    /// The width of the terminal, or `None` if lines are not wrapped.
    pub(crate) width: Option<usize>,
}

impl QueryRenderer<'_> {
    /// `arn:…:role/viewer (viewer)`.
    pub(crate) fn subject(&self, subject: &SubjectQuery) -> String {
        let name = self
            .policy_index
            .principal_name(subject)
            .map(|name| format!(" ({})", escape_control(name)))
            .unwrap_or_default();
        format!("{}{name}", escape_control(&subject.to_string()))
    }

    pub(crate) fn cluster(&self) -> AnswerContext<'_> {
        AnswerContext {
            label: self.cluster,
            name: self.cluster_name,
            state: self.state,
            policy_index: self.policy_index,
        }
    }

    /// `access.toml:12`, `policy other` or `unmanaged`.
    pub(crate) fn managed_by(&self, key: &ObjectKey) -> String {
        managed_by_text(&self.policy_index.managed_by(self.state, key))
    }

    fn located_line(&self, label: &str, text: &str, managed_by: &str) -> TerminalText {
        let text = escape_control(text);
        let managed_by = escape_control(managed_by);
        let gap = gap_before_location(LABEL_WIDTH + 4 + columns(&text), &managed_by, self.width);
        labeled_line(label, &format!("{text}{gap}{}", self.style.paint(StyleClass::Location, &managed_by)))
    }

    /// Returns the entry, username and groups of an authenticated subject.
    pub(crate) fn identity(&self, identity: &Identity) -> TerminalText {
        let mut out = TerminalText::default();
        if let Some(entry) = identity.entry() {
            let managed_by =
                managed_by_text(&self.policy_index.entry_managed_by(self.state, &self.state.entry_marks(), entry));
            let (label, text) = if entry.is_in_aws_auth() {
                ("aws-auth entry", entry.to_string())
            } else {
                ("access entry", entry.principal.clone())
            };
            out.append(&self.located_line(label, &text, &managed_by));
        }
        if let Some(name) = &identity.username {
            out.append(&labeled_line("username", &escape_control(name.as_str())));
        }
        let groups: Vec<String> = identity.groups.iter().map(|name| escape_control(name.as_str())).collect();
        if !groups.is_empty() {
            out.append(&labeled_line("groups", &groups.join(", ")));
        }
        out
    }

    /// Returns the subject, the binding, the role and the rule, one line each.
    pub(crate) fn grant_path(&self, path: &GrantPath<'_>) -> TerminalText {
        let GrantPath { subject, binding, role, source, rule, scope: _ } = path;
        let mut out = labeled_line("via", &escape_control(&subject.to_string()));
        out.append(&self.located_line("binding", &binding.to_string(), &self.managed_by(binding)));
        out.append(&self.located_line("role", &role.to_string(), &self.managed_by(role)));
        if source != role {
            out.append(&self.located_line("rule from", &source.to_string(), &self.managed_by(source)));
        }
        out.append(&labeled_line("rule", &escape_control(&rule.to_string())));
        out
    }

    pub(crate) fn grant_source(&self, source: &GrantSource<'_>) -> TerminalText {
        match source {
            GrantSource::SystemMasters => labeled_line("via", &format!("group {MASTERS} (bypasses RBAC)")),
            GrantSource::Path(path) => self.grant_path(path),
        }
    }
}

/// Returns a line with a label and a text.
pub(crate) fn labeled_line(label: &str, text: &str) -> TerminalText {
    TerminalText::from_line(&format!("  {}  {text}", padded(label, LABEL_WIDTH)))
}

fn managed_by_text(managed_by: &ManagedBy) -> String {
    match managed_by {
        ManagedBy::Location(location) => location.to_string(),
        ManagedBy::Policy(name) => format!("policy {name}"),
        ManagedBy::Unmanaged => "unmanaged".to_owned(),
    }
}
