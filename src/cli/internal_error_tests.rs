//! A plan that makes an internal lookup fail, and a panic, end with an internal error, exit code 1 and no write.

#![expect(clippy::disallowed_methods, reason = "the test uses a temporary directory")]

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::panics::catch_panic;
use super::{Env, Exit, Stdio, Terminals, run};
use crate::plan::Plan;
use crate::report::{self, PlanDocument, to_text};

const SNAPSHOT: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: one, uid: u, resourceVersion: \"7\", annotations: { rolecall/policy: p, rolecall/object: \"ead630eee313eca1\" } }
rules: []
";
const POLICY: &str = "\
[policy]
name = \"p\"
[cluster-roles.one]
rules = [{ verbs = [\"get\"], resources = [\"pods\"] }]
[cluster-roles.two]
rules = []
";

/// Changes the steps of a saved plan.
type Edit<'a> = &'a dyn Fn(&mut Value);

/// A stream whose text the test reads.
#[derive(Clone, Default)]
struct SharedText(Arc<Mutex<Vec<u8>>>);

impl Write for SharedText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a command in a folder, and returns its exit code and its stderr.
pub(crate) fn run_in(folder: &Path, args: &[&str]) -> (Exit, String) {
    let stderr = SharedText::default();
    let stdio = Stdio {
        stdin: Box::new(Cursor::new(Vec::new())),
        stdout: Box::new(SharedText::default()),
        stderr: Box::new(stderr.clone()),
    };
    let now = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut env = Env::new(now, BTreeMap::new(), folder.to_owned(), stdio, Terminals::default());
    let exit = run(["rolecall"].iter().chain(args).map(Into::into), &mut env);
    let text = String::from_utf8(stderr.0.lock().unwrap().clone()).unwrap();
    (exit, text)
}

/// Edits a saved plan, with a digest that fits the edited plan.
fn edit_plan(text: &str, edit: impl FnOnce(&mut Value)) -> String {
    let mut document: Value = serde_json::from_str(text).unwrap();
    edit(&mut document["plans"][0]["steps"]);
    let mut parsed: PlanDocument = serde_json::from_value(document.clone()).unwrap();
    let plan = Plan::try_from(parsed.plans.remove(0)).unwrap();
    document["plans"][0]["digest"] = json!(report::digest(&plan).unwrap());
    let edited: PlanDocument = serde_json::from_value(document).unwrap();
    to_text(&PlanDocument::new(edited.plans).unwrap()).unwrap()
}

#[test]
fn plan_with_a_step_that_refers_to_nothing_is_an_internal_error_and_writes_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("cluster.yaml"), SNAPSHOT).unwrap();
    std::fs::write(path("rolecall.toml"), POLICY).unwrap();
    let (exit, stderr) = run_in(folder.path(), &["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
    assert_eq!(exit, Exit::Success, "{stderr}");
    let saved = std::fs::read_to_string(path("plan.json")).unwrap();
    let position = |steps: &Value, name: &str| {
        steps.as_array().unwrap().iter().position(|step| step["object"]["name"] == name).unwrap()
    };
    let edits: [(Edit<'_>, &str); 4] = [
        (
            &|steps| {
                let one = position(steps, "one");
                steps[one]["precondition"] = json!({ "kind": "as-written-by-step", "step": 99 });
            },
            "(patch ClusterRole one) relies on step 99, which is not an earlier step",
        ),
        (
            &|steps| {
                let one = position(steps, "one");
                steps[one]["precondition"] = json!({ "kind": "absent" });
            },
            "has a precondition that does not fit its write",
        ),
        (
            &|steps| {
                let two = position(steps, "two");
                steps[two]["write"] = json!({ "verb": "patch", "body": { "rules": [] } });
                steps[two]["precondition"] = json!({ "kind": "unchanged", "uid": null, "resource-version": "1" });
            },
            "ClusterRole two was deleted",
        ),
        (
            &|steps| {
                let two = position(steps, "two");
                steps[two]["write"]["body"]["rules"] = json!("all");
            },
            "cannot compute the state after the plan",
        ),
    ];
    for (edit, message) in edits {
        std::fs::write(path("plan.json"), edit_plan(&saved, edit)).unwrap();
        let (exit, stderr) = run_in(folder.path(), &["apply", "--plan", "plan.json"]);
        assert_eq!(exit, Exit::Failed, "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
        if !message.contains("was deleted") {
            assert!(stderr.starts_with("error: internal error: "), "{stderr}");
            assert!(stderr.contains("= help: this is a bug in rolecall; please report it"), "{stderr}");
        }
        assert_eq!(std::fs::read_to_string(path("cluster.yaml")).unwrap(), SNAPSHOT);
    }
}

#[test]
fn panic_is_an_internal_error() {
    let error = catch_panic::<()>(|| panic!("index {} out of range", 7)).unwrap_err();
    let [diagnostic] = error.diagnostics.as_slice() else {
        panic!("{error:?}");
    };
    assert_eq!(diagnostic.message, "internal error: panic: index 7 out of range");
    assert!(!error.is_refusal);
}
