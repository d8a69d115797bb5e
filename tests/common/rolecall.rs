//! The program under test as its users run it: own folder, own home, nothing of the machine's environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a policy in it, and the way to a cluster.
pub struct Desk {
    folder: TempDir,
    kubeconfig: Option<PathBuf>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    /// Without any cluster but snapshots.
    pub fn offline() -> Self {
        Self { folder: TempDir::new().expect("a test needs a folder"), kubeconfig: None }
    }

    pub fn with_kubeconfig(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig: Some(kubeconfig), ..Self::offline() }
    }

    /// The text is its file `kubeconfig`.
    pub fn with_own_kubeconfig(text: &str) -> Self {
        let mut desk = Self::offline();
        desk.write("kubeconfig", text);
        desk.kubeconfig = Some(desk.path("kubeconfig"));
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, its folders too.
    pub fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a test writes to its folder");
        std::fs::write(path, text).expect("a test writes to its folder");
        self
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("the file was to be written")
    }

    /// The command, for tests that need more than arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
        command.env_clear().current_dir(self.folder.path()).args(args);
        command.env("HOME", self.folder.path()).env("PATH", std::env::var("PATH").unwrap_or_default());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        let done = self.command(args).output().expect("the program was built");
        Ran {
            code: done.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            err: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// Runs what must succeed, and returns its result.
    ///
    /// # Panics
    /// When it fails, with its words.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "rolecall {args:?}\n{}{}", ran.out, ran.err);
        ran.out
    }

    /// The one plan of `plan --format json`.
    #[track_caller]
    pub fn plan(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = ["plan", "--format", "json"].iter().chain(args).copied().collect();
        let mut document: Value = serde_json::from_str(&self.ok(&all)).expect("a plan is one document");
        document["plans"][0].take()
    }
}

/// What a step does, apart from the versions it was planned on.
pub fn steps(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().expect("a plan has steps");
    steps
        .iter()
        .map(|step| {
            let object = &step["object"];
            let namespace = object["namespace"].as_str().map(|name| format!("{name}/")).unwrap_or_default();
            format!(
                "{} {} {namespace}{} if {}: {}",
                step["write"]["verb"].as_str().unwrap_or_default(),
                object["kind"].as_str().unwrap_or_default(),
                object["name"].as_str().unwrap_or_default(),
                step["precondition"]["kind"].as_str().unwrap_or_default(),
                step["write"]["body"],
            )
        })
        .collect()
}

/// `access.toml` of a policy on a given way to its cluster, relative to the folder of the example.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}
