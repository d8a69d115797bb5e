//! The text of a test run: one line for each invariant, and the totals.

use super::style::{StyleClass, TextStyle};
use super::terminal_text::TerminalText;
use super::text_util::{escape_control, pluralize};
use crate::report::{TestDocument, TestResultJson, TestedClusterJson, TestedInvariantJson, TestedStateJson};

pub(crate) fn render_test_run(document: &TestDocument, style: TextStyle) -> TerminalText {
    let mut out = TerminalText::default();
    let state = match document.state {
        TestedStateJson::Planned => "after the policy is applied",
        TestedStateJson::Current => "as it is",
    };
    for TestedClusterJson { cluster, invariants, .. } in &document.clusters {
        out.line(&style.paint(StyleClass::Heading, &format!("Invariants of {} {state}", escape_control(cluster))));
        for TestedInvariantJson { location, description, invariant, result, .. } in invariants {
            let (mark, class) = match result {
                TestResultJson::Passed => ("passed  ", StyleClass::Added),
                TestResultJson::Violated => ("VIOLATED", StyleClass::Removed),
            };
            let name = escape_control(description.as_ref().unwrap_or(invariant));
            let place = escape_control(&format!("{}:{}", location.file, location.line));
            out.line(&format!("  {}  {name}  {}", style.paint(class, mark), style.paint(StyleClass::Location, &place)));
        }
        if invariants.is_empty() {
            out.line("  none: the policy has no invariant that applies to this cluster");
        }
        out.blank_line();
    }
    let (passed, violated) = (document.count(TestResultJson::Passed), document.count(TestResultJson::Violated));
    out.line(&format!("{}: {passed} passed, {violated} violated", pluralize(passed + violated, "invariant")));
    out
}
