//! JUnit XML, through a type for its text.
//!
//! The library escapes markup and removes what XML does not allow. Invisible characters and those that change the direction
//! of text are allowed in XML, and a CI system shows them in a web page, so they are escaped here.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::terminal_text::escape_commands;
use crate::diagnostic::escape_text;
use crate::report::LocationJson;

/// A text in which foreign text is harmless.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JunitText(String);

impl JunitText {
    pub(super) fn new(text: &str) -> Self {
        Self(escape_commands(&escape_text(text)))
    }

    /// Returns the texts as lines.
    pub(super) fn lines(texts: impl IntoIterator<Item = Self>) -> Self {
        Self(texts.into_iter().map(|text| text.0).collect::<Vec<_>>().join("\n"))
    }
}

/// The result of a test.
pub(super) enum JunitResult {
    Passed,
    /// The message, and the lines of evidence.
    Failed(JunitText, JunitText),
    /// It could not be run: the message.
    Error(JunitText),
    Skipped(JunitText),
}

/// A group of tests.
pub(super) struct JunitSuite {
    suite: TestSuite,
    class: JunitText,
    /// The names in this suite. CI systems match the tests of two runs by their names.
    names: Vec<JunitText>,
}

impl JunitSuite {
    /// `class` is what CI systems show before the name of each test.
    pub(super) fn new(name: &JunitText, class: JunitText) -> Self {
        Self { suite: TestSuite::new(name.0.as_str()), class, names: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn add(
        &mut self,
        name: JunitText,
        kind: &'static str,
        location: Option<&LocationJson>,
        result: JunitResult,
    ) {
        let earlier = self.names.iter().filter(|known| **known == name).count();
        let unique = if earlier == 0 { name.0.clone() } else { format!("{} ({})", name.0, earlier + 1) };
        self.names.push(name);
        let status = match result {
            JunitResult::Passed => TestCaseStatus::success(),
            JunitResult::Failed(message, evidence) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_type(kind).set_message(message.0).set_description(evidence.0);
                status
            }
            JunitResult::Error(message) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_type(kind).set_message(message.0);
                status
            }
            JunitResult::Skipped(reason) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason.0);
                status
            }
        };
        let mut case = TestCase::new(unique, status);
        case.set_classname(self.class.0.as_str());
        if let Some(LocationJson { file, line, column: _ }) = location {
            case.extra.insert("file".into(), JunitText::new(file).0.into());
            case.extra.insert("line".into(), line.to_string().into());
        }
        self.suite.add_test_case(case);
    }
}

/// Returns the XML document.
///
/// # Errors
/// If the library cannot write it.
pub(super) fn to_xml(name: &'static str, suites: Vec<JunitSuite>) -> Result<String, SerializeError> {
    let mut report = Report::new(name);
    report.add_test_suites(suites.into_iter().map(|suite| suite.suite));
    report.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_foreign_text_is_no_markup() {
        let mut suite = JunitSuite::new(&JunitText::new("s"), JunitText::new("c"));
        let hostile = "<b>&amp;\"'\n]]>\u{202e}\u{0}\u{1b}[2J";
        for _ in 0..2 {
            let evidence = JunitText::lines([JunitText::new(hostile), JunitText::new("line 2")]);
            suite.add(
                JunitText::new(hostile),
                "invariant",
                None,
                JunitResult::Failed(JunitText::new(hostile), evidence),
            );
        }
        suite.add(JunitText::new("x"), "invariant", None, JunitResult::Passed);
        insta::assert_snapshot!(to_xml("rolecall test", vec![suite]).unwrap(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="rolecall test" tests="3" skipped="0" failures="2" errors="0">
            <testsuite name="s" tests="3" skipped="0" errors="0" failures="2">
                <testcase name="&lt;b&gt;&amp;amp;&quot;&apos;\n]]&gt;\u{202e}\u{0}\u{1b}[2J" classname="c">
                    <failure message="&lt;b&gt;&amp;amp;&quot;&apos;\n]]&gt;\u{202e}\u{0}\u{1b}[2J" type="invariant">&lt;b&gt;&amp;amp;&quot;&apos;\n]]&gt;\u{202e}\u{0}\u{1b}[2J
        line 2</failure>
                </testcase>
                <testcase name="&lt;b&gt;&amp;amp;&quot;&apos;\n]]&gt;\u{202e}\u{0}\u{1b}[2J (2)" classname="c">
                    <failure message="&lt;b&gt;&amp;amp;&quot;&apos;\n]]&gt;\u{202e}\u{0}\u{1b}[2J" type="invariant">&lt;b&gt;&amp;amp;&quot;&apos;\n]]&gt;\u{202e}\u{0}\u{1b}[2J
        line 2</failure>
                </testcase>
                <testcase name="x" classname="c"/>
            </testsuite>
        </testsuites>
        "#);
    }
}
