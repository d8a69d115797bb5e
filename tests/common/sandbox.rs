//! Runs rolecall as users do, in a directory of its own, without the environment of the test process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary directory that is the working directory and the home directory of rolecall, with the kubeconfig of a
/// cluster.
pub struct Sandbox {
    folder: TempDir,
    kubeconfig: Option<PathBuf>,
}

/// The exit code and the output of a run.
#[derive(Debug)]
pub struct RunOutput {
    pub exit_code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for RunOutput {
    fn from(output: Output) -> Self {
        Self {
            exit_code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Sandbox {
    /// Without a kubeconfig, for tests that only use snapshots.
    pub fn offline() -> Self {
        Self { folder: TempDir::new().expect("a temporary directory cannot be created"), kubeconfig: None }
    }

    pub fn with_kubeconfig(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig: Some(kubeconfig), ..Self::offline() }
    }

    /// Writes the text to the file `kubeconfig` and uses it as the kubeconfig.
    pub fn with_kubeconfig_text(text: &str) -> Self {
        let mut sandbox = Self::offline();
        sandbox.write("kubeconfig", text);
        sandbox.kubeconfig = Some(sandbox.path("kubeconfig"));
        sandbox
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and creates its parent directories.
    pub fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("the file has a parent directory"))
            .expect("the temporary directory is writable");
        std::fs::write(path, text).expect("the temporary directory is writable");
        self
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("the file cannot be read")
    }

    /// The command, for tests that also set its environment or stdin.
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
    pub fn run(&self, args: &[&str]) -> RunOutput {
        let output = self.command(args).output().expect("rolecall cannot be started");
        output.into()
    }

    /// Runs a command that must succeed, and returns its stdout.
    ///
    /// # Panics
    /// If the exit code is not 0, with the output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.exit_code, 0, "rolecall {args:?}\n{}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs `plan --format json` and returns the plan of the only cluster.
    #[track_caller]
    pub fn plan(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = ["plan", "--format", "json"].iter().chain(args).copied().collect();
        let mut document: Value = serde_json::from_str(&self.ok(&args)).expect("the output is a JSON document");
        document["plans"][0].take()
    }
}

/// A line for each step of a plan: its verb, object, kind of precondition and body, but not the versions.
pub fn steps(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().expect("the plan has steps");
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

/// The path of an example in `examples/`.
pub fn example_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}
