//! Runs `rolecall can` on the live cluster and on a snapshot of it. Its answers must be those of the engine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::case::NAMESPACES;
use super::question::RandomQuestion;
use super::server::RealServer;
use crate::access::{AccessDecision, Request, RequestScope, request_scope};
use crate::api_resources::KnownResources;
use crate::state::State;
use crate::state::auth_mode::ObservedAuthMode;
use crate::yaml::to_yaml;
use crate::{Env, Exit, Stdio, Terminals, run};

pub(super) const SNAPSHOT: &str = "state.yaml";

/// The working directory and the kubeconfig of the program.
pub(super) struct CliProgram {
    folder: TempDir,
    kubeconfig: String,
}

/// An output stream that the test can read.
#[derive(Clone, Default)]
struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl CapturedOutput {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl CliProgram {
    pub(super) fn new(server: &RealServer) -> Self {
        let kubeconfig = server.cluster.kubeconfig().display().to_string();
        Self { folder: TempDir::new().unwrap(), kubeconfig }
    }

    /// Returns the exit code, stdout and stderr.
    fn run(&self, args: &[&str]) -> (Exit, String, String) {
        let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
        let stdio =
            Stdio { stdin: Box::new(io::empty()), stdout: Box::new(out.clone()), stderr: Box::new(err.clone()) };
        let variables = BTreeMap::from([("KUBECONFIG".to_owned(), self.kubeconfig.clone())]);
        let folder: &Path = self.folder.path();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut env = Env::new(now, variables, folder.to_owned(), stdio, Terminals::default());
        let args = ["rolecall"].iter().chain(args).map(OsString::from);
        let exit = run(args, &mut env);
        drop(env);
        (exit, out.text(), err.text())
    }

    /// Writes the snapshot that [`Self::can`] uses. The program connects without AWS, so what EKS says about the state is
    /// added.
    pub(super) fn snapshot(&self, state: &State) {
        let (exit, out, err) = self.run(&["snapshot", "--out", SNAPSHOT]);
        assert_eq!(exit, Exit::Success, "{out}{err}");
        let ObservedAuthMode::Known(mode) = &state.auth_mode else {
            panic!("a state has no authentication mode");
        };
        let cluster = json!({
            "apiVersion": "rolecall/v1", "kind": "EksCluster", "authentication-mode": mode.as_str(), "node-roles": [],
            "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/test", "version": "1.36",
        });
        let entries = state.access_entries.iter().map(|(_, entry)| entry.to_json());
        let documents = [cluster].into_iter().chain(entries).map(|document| format!("---\n{}", to_yaml(&document)));
        let path = self.folder.path().join(SNAPSHOT);
        let text = std::fs::read_to_string(&path).unwrap() + &documents.collect::<String>();
        std::fs::write(path, text).unwrap();
    }

    /// Returns whether the subject is allowed, and whether it can authenticate.
    ///
    /// # Errors
    /// If the exit code does not fit the verdict. The error has the output.
    pub(super) fn can(&self, question: &RandomQuestion, live: bool) -> Result<(AccessDecision, bool), String> {
        let words = can_args(question);
        let mut args = vec!["can", question.subject.as_str()];
        args.extend(words.iter().map(String::as_str));
        args.extend(["--format", "json"]);
        if !live {
            args.extend(["--snapshot", SNAPSHOT]);
        }
        let (exit, out, err) = self.run(&args);
        let answer: Value = serde_json::from_str(&out).map_err(|error| format!("{error}: {out}{err}"))?;
        let answer = &answer["clusters"][0];
        let (decision, expected) = match answer["verdict"].as_str() {
            Some("yes") => (AccessDecision::Allowed, Exit::Success),
            Some("for-some") => (AccessDecision::SomeVariants, Exit::Success),
            Some("ambiguous") => (AccessDecision::Ambiguous, Exit::Failed),
            Some("not-answered") => (AccessDecision::Denied, Exit::NotAnswered),
            _ => (AccessDecision::Denied, Exit::Failed),
        };
        if exit == expected {
            Ok((decision, answer["not-authenticated"].is_null()))
        } else {
            Err(format!("{args:?} ends with {exit:?}: {out}"))
        }
    }
}

/// Returns the arguments of the command line after the subject.
fn can_args(question: &RandomQuestion) -> Vec<String> {
    let object = match &question.request {
        Request::Url { verb, path } => return vec![verb.clone(), path.clone()],
        Request::Object(object) => object,
    };
    let mut resource = object.resource.clone();
    for (separator, part) in [(".", &object.group), ("/", &object.name)] {
        if !part.is_empty() {
            resource.push_str(&format!("{separator}{part}"));
        }
    }
    let mut words = vec![object.verb.clone(), resource];
    if !object.subresource.is_empty() {
        words.extend(["--subresource".to_owned(), object.subresource.clone()]);
    }
    let scope = request_scope(&KnownResources::default(), &object.group, &object.resource, &object.verb);
    if object.namespace.is_empty() && scope == RequestScope::Cluster {
        // The namespace of a cluster-scoped resource is ignored.
        words.extend(["-n".to_owned(), NAMESPACES[0].to_owned()]);
    } else if object.namespace.is_empty() {
        words.push("-A".to_owned());
    } else {
        words.extend(["-n".to_owned(), object.namespace.clone()]);
    }
    words
}
