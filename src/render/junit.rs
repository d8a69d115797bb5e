//! Invariants and guards as tests in JUnit XML, which CI systems show as a list of tests.

use super::junit_report::{JunitResult, JunitSuite, JunitText, to_xml};
use crate::diagnostic::InternalError;
use crate::report::{
    DiagnosticJson, GuardFindingJson, NotEvaluatedJson, PlanDocument, SeverityJson, TestResultJson, TestedClusterJson,
    TestedInvariantJson, ViolationJson,
};

const INVARIANT: &str = "invariant";
const GUARD: &str = "guard";
const ERROR: &str = "error";

/// Returns the invariants and guards of a plan or a drift. `errors` are those of the clusters that could not be planned.
///
/// # Errors
/// If the XML cannot be written, which is a bug.
pub(crate) fn render_plan_junit(
    command: &'static str,
    document: &PlanDocument,
    errors: &[DiagnosticJson],
) -> Result<String, InternalError> {
    let mut suites = Vec::new();
    for plan in &document.plans {
        let cluster = TestedClusterJson::new(plan);
        suites.push(invariant_suite(&cluster));
        let class = JunitText::new(&format!("{}.{}.guards", plan.policy, plan.id_scope()));
        let mut suite = JunitSuite::new(&JunitText::new(&format!("guards of {}", plan.cluster)), class);
        let guards = &plan.guards;
        for GuardFindingJson { guard, message, notes, .. } in &guards.refused {
            let notes = notes.iter().map(|note| JunitText::new(&format!("{}: {}", note.kind.name(), note.text)));
            let result = JunitResult::Failed(JunitText::new(message), JunitText::lines(notes));
            suite.add(JunitText::new(&format!("{}: {message}", guard.name())), GUARD, None, result);
        }
        for GuardFindingJson { guard, message, .. } in &guards.allowed {
            let name = format!("{}: accepted by --allow: {message}", guard.name());
            suite.add(JunitText::new(&name), GUARD, None, JunitResult::Passed);
        }
        for NotEvaluatedJson { guard, reason } in &guards.not_evaluated {
            let name = JunitText::new(&format!("{}: {}", guard.name(), guard.promise()));
            suite.add(name, GUARD, None, JunitResult::Skipped(JunitText::new(reason)));
        }
        for guard in &guards.passed {
            let name = JunitText::new(&format!("{}: {}", guard.name(), guard.promise()));
            suite.add(name, GUARD, None, JunitResult::Passed);
        }
        // `drift` evaluates no guards.
        if !suite.is_empty() {
            suites.push(suite);
        }
    }
    finish(command, suites, errors)
}

/// Returns the errors of a command that failed before there was a plan.
///
/// # Errors
/// If the XML cannot be written, which is a bug.
pub(crate) fn render_failure_junit(command: &'static str, errors: &[DiagnosticJson]) -> Result<String, InternalError> {
    finish(command, Vec::new(), errors)
}

/// Returns the invariants of a test run.
///
/// # Errors
/// If the XML cannot be written, which is a bug.
pub(crate) fn render_test_junit(
    clusters: &[TestedClusterJson],
    errors: &[DiagnosticJson],
) -> Result<String, InternalError> {
    finish("test", clusters.iter().map(invariant_suite).collect(), errors)
}

fn invariant_suite(cluster: &TestedClusterJson) -> JunitSuite {
    let TestedClusterJson { cluster, name, policy, invariants } = cluster;
    let class = JunitText::new(&format!("{policy}.{}.invariants", name.as_ref().unwrap_or(cluster)));
    let mut suite = JunitSuite::new(&JunitText::new(&format!("invariants of {cluster}")), class);
    for TestedInvariantJson { id: _, location, description, invariant, result, violations } in invariants {
        let name = JunitText::new(description.as_ref().unwrap_or(invariant));
        let result = match result {
            TestResultJson::Passed => JunitResult::Passed,
            TestResultJson::Violated => {
                let lines = violations.iter().map(|violation| {
                    let ViolationJson { subject, principal_name, message, path } = violation;
                    let name = principal_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
                    let path = if path.is_empty() { String::new() } else { format!(": {}", path.join(" → ")) };
                    JunitText::new(&format!("{subject}{name} {message}{path}"))
                });
                JunitResult::Failed(JunitText::new(invariant), JunitText::lines(lines))
            }
        };
        suite.add(name, INVARIANT, Some(location), result);
    }
    suite
}

fn finish(
    command: &'static str,
    mut suites: Vec<JunitSuite>,
    errors: &[DiagnosticJson],
) -> Result<String, InternalError> {
    let errors = errors.iter().filter(|error| matches!(error.severity, SeverityJson::Error));
    let mut failed = JunitSuite::new(&JunitText::new("errors"), JunitText::new("rolecall"));
    let mut has_errors = false;
    for error in errors {
        has_errors = true;
        let notes = error.notes.iter().map(|note| JunitText::new(&format!("{}: {}", note.kind.name(), note.text)));
        let text = JunitText::lines(std::iter::once(JunitText::new(&error.message)).chain(notes));
        failed.add(JunitText::new(command), ERROR, error.location.as_ref(), JunitResult::Error(text));
    }
    if has_errors {
        suites.push(failed);
    }
    to_xml("rolecall", suites).map_err(|error| InternalError::new(format!("cannot write JUnit XML: {error}")))
}
