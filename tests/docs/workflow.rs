//! GitHub Actions workflows, run as far as a test can: every `run` step in the shell that GitHub would use.
//!
//! `uses` steps do nothing. Expressions are looked up in a table that the test gives, and an unknown one fails the test.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::console::Scratch;
use super::read;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Workflow {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "on")]
    _on: Value,
    #[serde(default, rename = "permissions")]
    _permissions: Value,
    #[serde(default, rename = "concurrency")]
    _concurrency: Value,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    defaults: Defaults,
    pub(crate) jobs: BTreeMap<String, Job>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    #[serde(default)]
    run: RunDefaults,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunDefaults {
    shell: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Job {
    #[serde(rename = "runs-on")]
    _runs_on: String,
    #[serde(default)]
    needs: Option<String>,
    #[serde(default, rename = "environment")]
    _environment: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Step {
    name: Option<String>,
    id: Option<String>,
    #[serde(rename = "if")]
    condition: Option<String>,
    uses: Option<String>,
    #[serde(default, rename = "with")]
    _with: BTreeMap<String, Value>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    shell: Option<String>,
    run: Option<String>,
}

/// How a job ended, and what its steps printed.
#[derive(Debug)]
pub(crate) struct JobRun {
    pub(crate) succeeded: bool,
    pub(crate) log: String,
}

impl Workflow {
    /// Reads a workflow; a key that this test does not know is an error, so that nothing is left out unseen.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs all jobs in the order of their names, those that need another after it. A job whose need failed is skipped.
    /// `env` are the variables that GitHub sets.
    pub(crate) fn run(
        &self,
        scratch: &Scratch,
        context: &BTreeMap<&str, &str>,
        env: &[(&str, String)],
    ) -> BTreeMap<String, JobRun> {
        let mut runs: BTreeMap<String, JobRun> = BTreeMap::new();
        while let Some((name, job)) = self.jobs.iter().find(|(name, job)| {
            !runs.contains_key(*name) && job.needs.as_ref().is_none_or(|need| runs.contains_key(need))
        }) {
            let is_skipped = job.needs.as_ref().is_some_and(|need| !runs[need].succeeded);
            let run = if is_skipped {
                JobRun { succeeded: false, log: "skipped".to_owned() }
            } else {
                self.run_job(job, scratch, context, env)
            };
            runs.insert(name.clone(), run);
        }
        assert_eq!(runs.len(), self.jobs.len(), "a job needs one that does not exist");
        runs
    }

    fn run_job(&self, job: &Job, scratch: &Scratch, context: &BTreeMap<&str, &str>, env: &[(&str, String)]) -> JobRun {
        let mut variables: Vec<(&str, String)> = env.to_vec();
        let own = self.env.iter().chain(&job.env);
        variables.extend(own.map(|(key, value)| (key.as_str(), evaluate(value, context, &BTreeMap::new()))));
        run_steps(&job.steps, self.defaults.run.shell.as_ref(), scratch, context, &variables).0
    }
}

/// Runs steps. Returns the outputs of those that have an ID, too.
fn run_steps(
    steps: &[Step],
    default_shell: Option<&String>,
    scratch: &Scratch,
    context: &BTreeMap<&str, &str>,
    env: &[(&str, String)],
) -> (JobRun, BTreeMap<String, String>) {
    let mut run = JobRun { succeeded: true, log: String::new() };
    let mut outputs: BTreeMap<String, String> = BTreeMap::new();
    for step in steps {
        let takes_part = match step.condition.as_deref() {
            None => run.succeeded,
            Some("always()") => true,
            Some("failure()") => !run.succeeded,
            Some(other) => panic!("the test does not know the condition {other:?}"),
        };
        let (Some(script), true) = (&step.run, takes_part) else {
            assert!(step.run.is_some() != step.uses.is_some(), "a step has `run` or `uses`: {step:?}");
            continue;
        };
        assert!(!script.contains("${{"), "an expression in a script can inject commands; pass it by `env`: {script}");
        let output_file = scratch.path().join(".github-output");
        let summary = scratch.path().join(".github-summary");
        std::fs::write(&output_file, "").unwrap();
        let mut command = scratch.bash();
        command.args(shell(step.shell.as_ref().or(default_shell)));
        command.args(["-c", script]);
        command.env("GITHUB_OUTPUT", &output_file).env("GITHUB_STEP_SUMMARY", &summary);
        command.envs(env.iter().map(|(key, value)| (*key, value)));
        for (key, value) in &step.env {
            command.env(key, evaluate(value, context, &outputs));
        }
        let done = command.output().unwrap();
        run.log.push_str(&format!("# {}\n", step.name.as_deref().unwrap_or(script)));
        run.log.push_str(&String::from_utf8_lossy(&done.stdout));
        run.log.push_str(&String::from_utf8_lossy(&done.stderr));
        run.succeeded &= done.status.success();
        if let Some(id) = &step.id {
            for line in read(&output_file).lines() {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("not an output: {line}"));
                outputs.insert(format!("steps.{id}.outputs.{key}"), value.to_owned());
            }
        }
    }
    (run, outputs)
}

/// A composite action.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Action {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "description")]
    _description: String,
    inputs: BTreeMap<String, ActionInput>,
    outputs: BTreeMap<String, ActionOutput>,
    runs: ActionRuns,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionInput {
    #[serde(rename = "description")]
    _description: String,
    default: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionOutput {
    #[serde(rename = "description")]
    _description: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionRuns {
    using: String,
    steps: Vec<Step>,
}

impl Action {
    pub(crate) fn read(path: &Path) -> Self {
        serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs the steps with inputs. Returns the outputs of the action, too.
    pub(crate) fn run(
        &self,
        scratch: &Scratch,
        inputs: &BTreeMap<&str, &str>,
        context: &BTreeMap<&str, &str>,
        env: &[(&str, String)],
    ) -> (JobRun, BTreeMap<String, String>) {
        assert_eq!(self.runs.using, "composite");
        assert!(self.runs.steps.iter().all(|step| step.shell.is_some()), "a step of an action names its shell");
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for (name, input) in &self.inputs {
            let value = inputs
                .get(name.as_str())
                .map_or_else(|| evaluate(&input.default, context, &BTreeMap::new()), |value| (*value).to_owned());
            values.insert(format!("inputs.{name}"), value);
        }
        assert!(inputs.keys().all(|name| self.inputs.contains_key(*name)), "{inputs:?}");
        let mut all = context.clone();
        all.extend(values.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let (run, of_steps) = run_steps(&self.runs.steps, None, scratch, &all, env);
        let outputs =
            self.outputs.iter().map(|(name, output)| (name.clone(), evaluate_known(&output.value, &of_steps)));
        (run, outputs.collect())
    }
}

/// The value of an output, which is empty if its step has not set it.
fn evaluate_known(value: &str, outputs: &BTreeMap<String, String>) -> String {
    let name = value.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap().trim();
    outputs.get(name).cloned().unwrap_or_default()
}

/// The options of bash that GitHub uses: without `shell: bash` a pipe hides the exit code of all but its last command.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell>
fn shell(named: Option<&String>) -> &'static [&'static str] {
    match named.map(String::as_str) {
        None => &["-e"],
        Some("bash") => &["--noprofile", "--norc", "-e", "-o", "pipefail"],
        Some(other) => panic!("the test does not know the shell {other:?}"),
    }
}

/// A value of `env` with its expressions filled in.
fn evaluate(value: &str, context: &BTreeMap<&str, &str>, outputs: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").unwrap();
        let name = expression.trim();
        let known = context.get(name).copied().or_else(|| outputs.get(name).map(String::as_str));
        out.push_str(before);
        out.push_str(known.unwrap_or_else(|| panic!("the test does not know {name:?}")));
        rest = after;
    }
    out + rest
}
