//! SECURITY.md names a test for every promise. The tests must exist.

use std::collections::BTreeSet;

use super::{collect, read, root};

#[test]
fn every_promise_has_a_test_that_exists() {
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        collect(&root().join(folder), "rs", &mut sources);
    }
    let mut functions: BTreeSet<String> = BTreeSet::new();
    for path in sources {
        let text = read(&path);
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            match line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
                Some((name, _)) if is_test => {
                    functions.insert(name.to_owned());
                    is_test = false;
                }
                Some(_) => {}
                None => is_test = line.starts_with("#[test]") || (is_test && line.starts_with("#[")),
            }
        }
    }
    let document = read(&root().join("SECURITY.md"));
    let rows = document.lines().skip_while(|line| *line != "## Promises").filter(|line| line.starts_with("| "));
    let promises: Vec<&str> = rows.filter(|row| !row.starts_with("| Promise") && !row.starts_with("| ---")).collect();
    assert!(promises.len() > 10, "{promises:?}");
    for row in promises {
        let tests: Vec<&str> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test holds: {row}");
        for test in tests {
            assert!(functions.contains(test), "the test {test} does not exist: {row}");
        }
    }
}
