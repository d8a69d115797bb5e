//! Risks of a migration to access entries: the change of the authentication mode, and principals whose access changes.

use super::allow_flag::AllowFlag;
use super::context::GuardReport;
use super::risk::{GuardKind, Risk};
use crate::access::SubjectQuery;
use crate::plan::{AccessChange, AffectedSubject, AllowedRequests, EscalationSummary};
use crate::state::auth_mode::ClusterAuthMode;

/// How many sets of requests a message lists.
const MAX_LISTED_SETS: usize = 3;

impl GuardReport {
    /// Adds a risk, which one of the flags can accept.
    pub(crate) fn add(&mut self, risk: Risk, allow: &[AllowFlag]) {
        let is_allowed = risk.allow.as_ref().is_some_and(|needed| allow.iter().any(|flag| flag.covers(needed)));
        if is_allowed { &mut self.allowed } else { &mut self.refused }.push(risk);
    }
}

/// Returns the risk of a change of the authentication mode.
pub(crate) fn auth_mode_risk(from: &ClusterAuthMode, to: &ClusterAuthMode) -> Risk {
    let message = format!("the authentication mode of the cluster changes from {} to {}", from.as_str(), to.as_str());
    let risk = Risk::new(GuardKind::AuthMode, message).with_because("EKS cannot change it back");
    let risk = match to {
        ClusterAuthMode::Api => risk.with_note("after it, the cluster does not read aws-auth any more"),
        ClusterAuthMode::ApiAndConfigMap | ClusterAuthMode::ConfigMap | ClusterAuthMode::Other(_) => {
            risk.with_note("after it, aws-auth still counts for each principal without an access entry")
        }
    };
    risk.with_allow_flag(AllowFlag::AuthMode)
}

/// Returns a risk for each subject whose access a migration changes. A loss can be accepted; a gain cannot.
pub(crate) fn equal_access_risks(changes: &[AccessChange]) -> Vec<Risk> {
    let mut risks = Vec::new();
    for AccessChange { subjects, diff, .. } in changes {
        for AffectedSubject { subject, .. } in subjects {
            let message = format!("{subject} would not keep exactly its access");
            let mut risk = Risk::new(GuardKind::EqualAccess, message);
            risk.subject = Some(subject.clone());
            for (verb, sets) in [("loses", &diff.losses), ("gains", &diff.gains)] {
                let texts: Vec<&str> = sets.iter().map(|AllowedRequests { summary, .. }| summary.as_str()).collect();
                if !texts.is_empty() {
                    let more = match texts.len().saturating_sub(MAX_LISTED_SETS) {
                        0 => String::new(),
                        more => format!("; and {more} more"),
                    };
                    let listed = texts.iter().take(MAX_LISTED_SETS).copied().collect::<Vec<_>>().join("; ");
                    risk = risk.with_because(format!("it {verb}: {listed}{more}"));
                }
            }
            for EscalationSummary { path, .. } in &diff.escalations {
                risk = risk.with_because(format!("it gains the privilege escalation path: {path}"));
            }
            let subject = SubjectQuery::parse(subject).ok();
            risk = match subject.filter(|_| diff.gains.is_empty() && diff.escalations.is_empty()) {
                Some(subject) => risk.with_allow_flag(AllowFlag::Remove(subject)),
                None => risk.with_help("change what differs in aws-auth or in the bindings first"),
            };
            risks.push(risk);
        }
    }
    risks
}
