//! `rolecall can` as people run it, on the live cluster and on a snapshot of it: it may not say otherwise than the engine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::question::RandomQuestion;
use super::server::RealServer;
use crate::access::Request;
use crate::{Env, Exit, Stdio, Terminals, run};

pub(super) const SNAPSHOT: &str = "state.yaml";

/// Where the program stands: a folder, and the way to the cluster.
pub(super) struct CliProgram {
    folder: TempDir,
    kubeconfig: String,
}

/// What the program prints.
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

    /// Its exit, and both that it printed.
    fn run(&self, args: &[&str]) -> (Exit, String, String) {
        let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
        let ends = Stdio { stdin: Box::new(io::empty()), stdout: Box::new(out.clone()), stderr: Box::new(err.clone()) };
        let env = BTreeMap::from([("KUBECONFIG".to_owned(), self.kubeconfig.clone())]);
        let folder: &Path = self.folder.path();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = Env::new(now, env, folder.to_owned(), ends, Terminals::default());
        let args = ["rolecall"].iter().chain(args).map(OsString::from);
        let exit = run(args, &mut world);
        drop(world);
        (exit, out.text(), err.text())
    }

    /// Writes the snapshot that [`Self::says`] may be asked of.
    pub(super) fn snapshot(&self) {
        let (exit, out, err) = self.run(&["snapshot", "--out", SNAPSHOT]);
        assert_eq!(exit, Exit::Success, "{out}{err}");
    }

    /// Whether somebody may, and whether he is let in at all.
    ///
    /// # Errors
    /// An exit code that is not that of the verdict, with what was printed.
    pub(super) fn can(&self, question: &RandomQuestion, live: bool) -> Result<(bool, bool), String> {
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
        let yes = answer["verdict"] == "yes";
        if exit == (if yes { Exit::Success } else { Exit::Failed }) {
            Ok((yes, answer["not-authenticated"].is_null()))
        } else {
            Err(format!("{args:?} ends with {exit:?}: {out}"))
        }
    }
}

/// The question in the words of the command line, behind its subject.
fn can_args(question: &RandomQuestion) -> Vec<String> {
    let asked = match &question.request {
        Request::Url { verb, path } => return vec![verb.clone(), path.clone()],
        Request::Object(asked) => asked,
    };
    let mut resource = asked.resource.clone();
    for (mark, part) in [(".", &asked.group), ("/", &asked.name)] {
        if !part.is_empty() {
            resource.push_str(&format!("{mark}{part}"));
        }
    }
    let mut words = vec![asked.verb.clone(), resource];
    if !asked.subresource.is_empty() {
        words.extend(["--subresource".to_owned(), asked.subresource.clone()]);
    }
    if asked.namespace.is_empty() {
        words.push("-A".to_owned());
    } else {
        words.extend(["-n".to_owned(), asked.namespace.clone()]);
    }
    words
}
