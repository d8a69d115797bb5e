//! What a plan document says as a whole: its verdict, its totals and its worst change. The short forms of a plan use it.

use std::collections::BTreeSet;

use crate::report::{
    AccessChangeJson, AccessSeverityJson, ActionJson, ChangeJson, DiagnosticJson, DriftJson, PlanDocument, PlanJson,
    SectionJson, SubjectJson, TargetJson,
};

/// The result of the whole command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanVerdict {
    /// A cluster could not be planned.
    Failed,
    /// A guard or an invariant refuses a plan.
    Refused,
    /// `apply` needs `--allow-window`.
    NeedsAllowWindow,
    Changes,
    NoChanges,
}

/// A plan document, and the errors of the clusters that could not be planned.
pub(crate) struct PlanFacts<'a> {
    pub(crate) document: &'a PlanDocument,
    pub(crate) errors: &'a [DiagnosticJson],
    pub(crate) verdict: PlanVerdict,
    /// The document is of `drift`, which does not compute access.
    pub(crate) is_drift: bool,
    pub(crate) totals: PlanTotals,
}

/// Numbers of changes and subjects.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlanTotals {
    pub(crate) changes: usize,
    pub(crate) create: usize,
    pub(crate) adopt: usize,
    pub(crate) update: usize,
    pub(crate) replace: usize,
    pub(crate) delete: usize,
    /// Subjects that gain access.
    pub(crate) gaining: usize,
    /// Subjects that lose access, or can no longer log in.
    pub(crate) losing: usize,
    /// Changes made outside of rolecall.
    pub(crate) outside: usize,
}

impl PlanTotals {
    pub(crate) fn new(plan: &PlanJson) -> Self {
        let access = plan.access.as_deref().unwrap_or_default();
        let subjects = |counts: fn(&AccessChangeJson) -> bool| -> usize {
            access.iter().filter(|change| counts(change)).map(|change| change.subjects.len()).sum()
        };
        Self {
            changes: plan.changes.len(),
            create: plan.summary.create,
            adopt: plan.summary.adopt,
            update: plan.summary.update,
            replace: plan.summary.replace,
            delete: plan.summary.delete,
            gaining: subjects(|change| !change.gains.is_empty()),
            losing: subjects(|change| !change.loses.is_empty()) + lost_logins(plan).len(),
            outside: plan.changes.iter().filter(|change| is_outside(change)).count(),
        }
    }

    fn add(self, other: Self) -> Self {
        Self {
            changes: self.changes + other.changes,
            create: self.create + other.create,
            adopt: self.adopt + other.adopt,
            update: self.update + other.update,
            replace: self.replace + other.replace,
            delete: self.delete + other.delete,
            gaining: self.gaining + other.gaining,
            losing: self.losing + other.losing,
            outside: self.outside + other.outside,
        }
    }
}

impl<'a> PlanFacts<'a> {
    /// `errors` are those of the clusters that have no plan in the document.
    pub(crate) fn new(document: &'a PlanDocument, errors: &'a [DiagnosticJson]) -> Self {
        let plans = &document.plans;
        let verdict = if !errors.is_empty() {
            PlanVerdict::Failed
        } else if plans.iter().any(PlanJson::is_refused) {
            PlanVerdict::Refused
        } else if plans.iter().any(PlanJson::needs_allow_window) {
            PlanVerdict::NeedsAllowWindow
        } else if plans.iter().any(|plan| !plan.changes.is_empty()) {
            PlanVerdict::Changes
        } else {
            PlanVerdict::NoChanges
        };
        let is_drift = !plans.is_empty() && !plans.iter().any(PlanJson::has_access_changes);
        let totals = plans.iter().map(PlanTotals::new).fold(PlanTotals::default(), PlanTotals::add);
        Self { document, errors, verdict, is_drift, totals }
    }

    /// The command that made the document.
    pub(crate) fn command(&self) -> &'static str {
        if self.is_drift { "drift" } else { "plan" }
    }

    /// The name of the policy; `None` if no cluster was planned.
    pub(crate) fn policy(&self) -> Option<&'a str> {
        self.document.plans.first().map(|plan| plan.policy.as_str())
    }

    /// The change by which subjects gain the most.
    pub(crate) fn worst_gain(&self) -> Option<&'a AccessChangeJson> {
        self.worst(|change| !change.gains.is_empty() || !change.escalations.is_empty())
    }

    /// The change by which subjects lose the most.
    pub(crate) fn worst_loss(&self) -> Option<&'a AccessChangeJson> {
        self.worst(|change| !change.loses.is_empty())
    }

    fn worst(&self, counts: fn(&AccessChangeJson) -> bool) -> Option<&'a AccessChangeJson> {
        let changes = self.document.plans.iter().flat_map(|plan| plan.access.iter().flatten());
        let mut worst: Option<&AccessChangeJson> = None;
        for change in changes.filter(|change| counts(change)) {
            // The first of several that are equally severe, as a plan lists the worst first.
            if worst.is_none_or(|worst| change.severity > worst.severity) {
                worst = Some(change);
            }
        }
        worst
    }

    /// The number of escalation paths that are opened, by severity, the worst first.
    pub(crate) fn escalations(&self) -> Vec<(AccessSeverityJson, usize)> {
        let changes = self.document.plans.iter().flat_map(|plan| plan.access.iter().flatten());
        let all: Vec<AccessSeverityJson> =
            changes.flat_map(|change| change.escalations.iter().map(|path| path.severity)).collect();
        let severities = [
            AccessSeverityJson::Critical,
            AccessSeverityJson::High,
            AccessSeverityJson::Medium,
            AccessSeverityJson::Low,
        ];
        let count = |severity| (severity, all.iter().filter(|found| **found == severity).count());
        severities.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// The digests of the plans with changes, if `apply` would make them.
    pub(crate) fn approvable_digests(&self) -> Vec<&'a str> {
        match self.verdict {
            PlanVerdict::Changes | PlanVerdict::NeedsAllowWindow if !self.is_drift => {
                let plans = self.document.plans.iter().filter(|plan| !plan.changes.is_empty());
                plans.map(|plan| plan.digest.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What the command line of `apply` needs so that it makes exactly some plans.
#[derive(Debug, Default)]
pub(crate) struct ApprovalFlags {
    /// The digests of the plans with changes.
    pub(crate) digests: Vec<String>,
    /// The accepted risks, as `--allow` takes them.
    pub(crate) allowed: BTreeSet<String>,
    pub(crate) allow_window: bool,
}

impl ApprovalFlags {
    pub(crate) fn new(document: &PlanDocument) -> Self {
        let plans = document.plans.iter().filter(|plan| !plan.changes.is_empty());
        let allowed = plans.clone().flat_map(|plan| &plan.guards.allowed).filter_map(|finding| finding.allow.clone());
        Self {
            digests: plans.clone().map(|plan| plan.digest.clone()).collect(),
            allowed: allowed.collect(),
            allow_window: plans.clone().any(PlanJson::needs_allow_window),
        }
    }

    /// The flags in the form that a shell reads.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let digests = self.digests.iter().map(|digest| format!("--approved {digest}"));
        let allowed = self.allowed.iter().map(|allow| format!("--allow {}", shell_word(allow)));
        let allow_window = self.allow_window.then(|| "--allow-window".to_owned());
        digests.chain(allowed).chain(allow_window).collect()
    }
}

/// Returns whether the object was changed outside of rolecall.
pub(crate) fn is_outside(change: &ChangeJson) -> bool {
    match change.drift {
        DriftJson::ChangedInCluster | DriftJson::DeletedInCluster => true,
        DriftJson::None => false,
    }
}

/// Returns the principals that lose their last aws-auth entry and with it no permission.
pub(crate) fn lost_logins(plan: &PlanJson) -> Vec<&str> {
    let access = plan.access.as_deref().unwrap_or_default();
    let listed: BTreeSet<String> = access
        .iter()
        .flat_map(|change| &change.subjects)
        .map(|SubjectJson { subject, .. }| subject.to_ascii_lowercase())
        .collect();
    let principals = plan.changes.iter().filter_map(|change| match (&change.action, &change.target) {
        (ActionJson::Delete, TargetJson::Entry(entry))
            if change.changes_access == Some(true) && entry.section != SectionJson::Accounts =>
        {
            Some(entry.principal.as_str())
        }
        _ => None,
    });
    let mut principals: Vec<&str> =
        principals.filter(|principal| !listed.contains(&principal.to_ascii_lowercase())).collect();
    principals.dedup();
    principals
}

/// Returns the text as one word of a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words_are_quoted_if_needed() {
        assert_eq!(shell_word("remove:arn:aws:iam::111122223333:role/x"), "remove:arn:aws:iam::111122223333:role/x");
        assert_eq!(shell_word("everyone:$(rm) `x` it's"), "'everyone:$(rm) `x` it'\\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
