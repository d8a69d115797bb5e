//! Findings as SARIF, for code scanning: warnings and errors of a policy, violated invariants, refusals of guards, and
//! privilege escalation paths, each with the place in the policy.

use std::collections::{BTreeMap, BTreeSet};

use super::sarif_log::{
    AutomationDetails, ColumnKind, PhysicalLocation, ReportingConfiguration, ReportingDescriptor, RuleProperties,
    SarifDriver, SarifInvocation, SarifLevel, SarifLocation, SarifLog, SarifMessage, SarifNotification, SarifResult,
    SarifRun, SarifText, SarifTool,
};
use crate::access::escalation_consequence;
use crate::diagnostic::{LintId, escape_text};
use crate::report::{
    AccessSeverityJson, ChangeJson, DiagnosticJson, EscalationJson, FailedInvariantJson, FindingId, GrantSourceJson,
    GuardFindingJson, LocationJson, ObjectJson, PlanDocument, PlanJson, PolicyEscalationJson, SeverityJson,
    SubjectJson, TargetJson,
};

/// The number of subjects that a message names.
const MAX_SUBJECTS: usize = 5;
/// The number of subjects that are listed for a violated invariant.
const MAX_VIOLATIONS: usize = 5;

/// What a log is made from, besides the findings.
pub(crate) struct SarifContext<'a> {
    pub(crate) command: &'static str,
    /// `None` if the policy could not be read.
    pub(crate) policy: Option<&'a str>,
    /// The place of findings that no line of the policy causes. Code scanning does not show a finding without a place.
    pub(crate) policy_location: Option<&'a LocationJson>,
}

/// Returns the findings of a plan or a drift. `errors` are those of the clusters that could not be planned.
pub(crate) fn render_plan_sarif(
    document: &PlanDocument,
    errors: &[DiagnosticJson],
    context: &SarifContext<'_>,
) -> SarifLog {
    let mut log = LogBuilder::new(context);
    log.add_diagnostics(errors);
    for plan in &document.plans {
        let locations = ChangeLocations::new(plan);
        log.add_diagnostics(&plan.warnings);
        for failed in &plan.failed_invariants {
            log.add_failed_invariant(failed, document.plans.len() > 1, &plan.cluster);
        }
        for finding in &plan.guards.refused {
            log.add_guard_finding(finding, SarifLevel::Error, &locations);
        }
        for finding in &plan.guards.allowed {
            log.add_guard_finding(finding, SarifLevel::Note, &locations);
        }
        for change in plan.access.iter().flatten() {
            for escalation in &change.escalations {
                let location = locations.of_escalation(escalation, &change.subjects);
                log.add_escalation(escalation, &change.subjects, location);
            }
        }
    }
    log.finish()
}

/// Returns what is wrong with a policy, and the privilege escalation paths that it grants by itself.
pub(crate) fn render_policy_sarif(
    diagnostics: &[DiagnosticJson],
    violations: &[FailedInvariantJson],
    escalations: &[PolicyEscalationJson],
    context: &SarifContext<'_>,
) -> SarifLog {
    let mut log = LogBuilder::new(context);
    log.add_diagnostics(diagnostics);
    for failed in violations {
        log.add_failed_invariant(failed, false, "");
    }
    for PolicyEscalationJson { escalation, subjects, location } in escalations {
        log.add_escalation(escalation, subjects, location.as_ref());
    }
    log.finish()
}

/// The places of the changes of a plan.
struct ChangeLocations<'a> {
    /// By kind, namespace and name.
    objects: BTreeMap<(&'static str, Option<&'a str>, &'a str), &'a LocationJson>,
    /// By the ARN in lower case, or the account ID.
    entries: BTreeMap<String, &'a LocationJson>,
}

impl<'a> ChangeLocations<'a> {
    fn new(plan: &'a PlanJson) -> Self {
        let mut locations = Self { objects: BTreeMap::new(), entries: BTreeMap::new() };
        for ChangeJson { target, location, .. } in &plan.changes {
            match (target, location) {
                (TargetJson::Object(object), Some(location)) => {
                    locations.objects.insert(object_key(object), location);
                }
                (TargetJson::Entry(entry), Some(location)) => {
                    locations.entries.insert(entry.principal.to_ascii_lowercase(), location);
                }
                (_, None) => {}
            }
        }
        locations
    }

    fn of_subject(&self, subject: &str) -> Option<&'a LocationJson> {
        self.entries.get(&subject.to_ascii_lowercase()).copied()
    }

    /// Returns the place of a change that opens the path: that of a binding, of its role, or of the entry of a subject.
    fn of_escalation(&self, escalation: &EscalationJson, subjects: &[SubjectJson]) -> Option<&'a LocationJson> {
        let of_source = |source: &GrantSourceJson| match source {
            GrantSourceJson::Binding { binding, role } => {
                [binding, role].into_iter().find_map(|object| self.objects.get(&object_key(object)).copied())
            }
            GrantSourceJson::Group { .. } => None,
        };
        let of_objects = escalation.granted_by.iter().find_map(of_source);
        of_objects.or_else(|| subjects.iter().find_map(|known| self.of_subject(&known.subject)))
    }
}

fn object_key(object: &ObjectJson) -> (&'static str, Option<&str>, &str) {
    (object.kind_name(), object.namespace.as_deref(), &object.name)
}

/// A kind of finding.
struct FindingRule {
    id: String,
    description: String,
    level: SarifLevel,
    security_severity: Option<&'static str>,
}

impl FindingRule {
    fn new(id: &str, description: &str, level: SarifLevel, security_severity: Option<&'static str>) -> Self {
        Self { id: id.to_owned(), description: description.to_owned(), level, security_severity }
    }
}

struct LogBuilder<'a> {
    context: &'a SarifContext<'a>,
    rules: Vec<ReportingDescriptor>,
    /// The positions of the rules.
    rule_indexes: BTreeMap<String, usize>,
    /// The findings that are listed. The same one can be found in several clusters.
    listed: BTreeSet<FindingId>,
    results: Vec<SarifResult>,
    notifications: Vec<SarifNotification>,
    is_failure: bool,
}

impl<'a> LogBuilder<'a> {
    fn new(context: &'a SarifContext<'a>) -> Self {
        Self {
            context,
            rules: Vec::new(),
            rule_indexes: BTreeMap::new(),
            listed: BTreeSet::new(),
            results: Vec::new(),
            notifications: Vec::new(),
            is_failure: false,
        }
    }

    fn add_diagnostics(&mut self, diagnostics: &[DiagnosticJson]) {
        for DiagnosticJson { id, severity, lint, message, location, related, excerpt: _, notes } in diagnostics {
            let is_error = matches!(severity, SeverityJson::Error);
            let level = if is_error { SarifLevel::Error } else { SarifLevel::Warning };
            let notes = notes.iter().map(|note| format!("{}: {}", note.kind.name(), note.text));
            let text = message_of(message, notes);
            self.is_failure |= is_error && lint.is_none();
            if is_error && location.is_none() {
                self.notifications.push(SarifNotification { level, message: SarifMessage { text } });
                continue;
            }
            let lint_id = lint.as_deref().and_then(LintId::parse);
            let rule = match (lint_id, is_error) {
                (Some(lint), _) => FindingRule::new(lint.name(), lint.description(), SarifLevel::Warning, None),
                (None, true) => FindingRule::new("policy-error", "The policy is not valid.", level, None),
                (None, false) => FindingRule::new(
                    "cluster-warning",
                    "Something in the cluster does not work as it seems to.",
                    level,
                    None,
                ),
            };
            let related = related.iter().map(|related| (&related.location, related.label.as_str())).collect();
            self.add(rule, id, level, text, location.as_ref(), related);
        }
    }

    fn add_failed_invariant(&mut self, failed: &FailedInvariantJson, has_clusters: bool, cluster: &str) {
        let FailedInvariantJson { id, location, description, invariant, violations } = failed;
        let name = description.as_ref().unwrap_or(invariant);
        let place = if has_clusters { format!(" in {cluster}") } else { String::new() };
        let more = violations.len().saturating_sub(MAX_VIOLATIONS);
        let listed = violations.iter().take(MAX_VIOLATIONS).map(|violation| {
            let path = if violation.path.is_empty() {
                String::new()
            } else {
                format!(", via {}", violation.path.join(" → "))
            };
            format!("because: {} {}{path}", violation.subject, violation.message)
        });
        let more = (more > 0).then(|| format!("and {more} more"));
        let text = message_of(&format!("invariant violated{place}: \"{name}\""), listed.chain(more));
        let rule =
            FindingRule::new("invariant", "An invariant of the policy is violated.", SarifLevel::Error, Some("8.0"));
        self.add(rule, id, SarifLevel::Error, text, Some(location), Vec::new());
    }

    fn add_guard_finding(&mut self, finding: &GuardFindingJson, level: SarifLevel, locations: &ChangeLocations<'_>) {
        let GuardFindingJson { id, guard, subject, message, notes, allow: _ } = finding;
        let rule_id = format!("guard/{}", guard.name());
        let description = format!("The guard `{}` refuses the plan unless {}.", guard.name(), guard.promise());
        let rule = FindingRule::new(&rule_id, &description, SarifLevel::Error, Some("8.0"));
        let notes = notes.iter().map(|note| format!("{}: {}", note.kind.name(), note.text));
        let text = message_of(message, notes);
        let location = subject.as_ref().and_then(|subject| locations.of_subject(subject));
        self.add(rule, id, level, text, location, Vec::new());
    }

    fn add_escalation(
        &mut self,
        escalation: &EscalationJson,
        subjects: &[SubjectJson],
        location: Option<&LocationJson>,
    ) {
        let EscalationJson { id, name, path, severity, granted_by } = escalation;
        let rule_id = format!("escalation/{name}");
        let consequence = escalation_consequence(name).unwrap_or("has more access than its permissions say");
        let description = format!("Privilege escalation path `{name}`: a subject {consequence}.");
        let (level, score) = severity_of(*severity);
        let rule = FindingRule::new(&rule_id, &description, level, Some(score));
        let sources = granted_by.iter().map(|source| match source {
            GrantSourceJson::Group { group } => format!("because: through group {group}"),
            GrantSourceJson::Binding { binding, role } => format!(
                "because: through {} {} and {} {}",
                binding.kind_name(),
                binding.path(),
                role.kind_name(),
                role.path()
            ),
        });
        let text = message_of(&format!("{}: {path}", names_of(subjects)), sources);
        self.add(rule, id, level, text, location, Vec::new());
    }

    fn add(
        &mut self,
        rule: FindingRule,
        id: &FindingId,
        level: SarifLevel,
        text: SarifText,
        location: Option<&LocationJson>,
        related: Vec<(&LocationJson, &str)>,
    ) {
        if !self.listed.insert(id.clone()) {
            return;
        }
        let FindingRule { id: rule_id, description, level: default_level, security_severity } = rule;
        let rules = &mut self.rules;
        let rule_index = *self.rule_indexes.entry(rule_id.clone()).or_insert_with(|| {
            rules.push(ReportingDescriptor {
                id: rule_id.clone(),
                short_description: SarifMessage { text: SarifText::new(&description) },
                default_configuration: ReportingConfiguration { level: default_level },
                properties: RuleProperties {
                    tags: if security_severity.is_some() { vec!["security"] } else { Vec::new() },
                    security_severity,
                },
            });
            rules.len() - 1
        });
        let place = |location: &LocationJson| SarifLocation {
            id: None,
            physical_location: PhysicalLocation::from(location),
            message: None,
        };
        let related = related.into_iter().zip(1..).map(|((location, label), number)| SarifLocation {
            id: Some(number),
            message: (!label.is_empty()).then(|| SarifMessage { text: SarifText::new(label) }),
            ..place(location)
        });
        self.results.push(SarifResult {
            rule_id,
            rule_index,
            level,
            message: SarifMessage { text },
            locations: location.or(self.context.policy_location).map(place).into_iter().collect(),
            related_locations: related.collect(),
            fingerprints: BTreeMap::from([("rolecall/v1", id.as_str().to_owned())]),
            partial_fingerprints: BTreeMap::from([("primaryLocationLineHash", format!("{}:1", id.as_str()))]),
        });
    }

    fn finish(self) -> SarifLog {
        let SarifContext { command, policy, policy_location: _ } = self.context;
        let policy = policy.map(|policy| format!("{}/", escape_text(policy))).unwrap_or_default();
        SarifLog::new(SarifRun {
            tool: SarifTool {
                driver: SarifDriver {
                    name: "rolecall",
                    semantic_version: env!("CARGO_PKG_VERSION"),
                    rules: self.rules,
                },
            },
            invocations: [SarifInvocation {
                execution_successful: !self.is_failure,
                tool_execution_notifications: self.notifications,
            }],
            automation_details: AutomationDetails { id: format!("rolecall/{command}/{policy}") },
            column_kind: ColumnKind::UnicodeCodePoints,
            results: self.results,
        })
    }
}

/// The level of a finding, and the score by which code scanning sorts it.
fn severity_of(severity: AccessSeverityJson) -> (SarifLevel, &'static str) {
    match severity {
        AccessSeverityJson::Critical => (SarifLevel::Error, "9.5"),
        AccessSeverityJson::High => (SarifLevel::Error, "8.0"),
        AccessSeverityJson::Medium => (SarifLevel::Warning, "5.0"),
        AccessSeverityJson::Low => (SarifLevel::Note, "2.0"),
    }
}

fn message_of(message: &str, notes: impl Iterator<Item = String>) -> SarifText {
    let notes = notes.map(|note| SarifText::new(&note));
    SarifText::lines(std::iter::once(SarifText::new(message)).chain(notes))
}

/// `viewer (arn:…), group:viewers and 3 more subjects`.
fn names_of(subjects: &[SubjectJson]) -> String {
    let name = |SubjectJson { subject, principal_name }: &SubjectJson| match principal_name {
        Some(name) => format!("{name} ({subject})"),
        None => subject.clone(),
    };
    let shown: Vec<String> = subjects.iter().take(MAX_SUBJECTS).map(name).collect();
    match subjects.len().saturating_sub(MAX_SUBJECTS) {
        0 => shown.join(", "),
        1 => format!("{} and 1 more subject", shown.join(", ")),
        more => format!("{} and {more} more subjects", shown.join(", ")),
    }
}
