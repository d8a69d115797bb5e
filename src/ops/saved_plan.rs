//! Saved plans: `plan --out FILE` writes them, and `apply --plan FILE` applies them or refuses.

#![expect(clippy::disallowed_methods, reason = "reads the plan file again before it is marked as applied")]

use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;
use tokio::runtime::Handle;

use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::context::OpsContext;
use super::guards::read_cluster_facts;
use super::observer::WorkPhase;
use super::parallel::run_clusters;
use super::same_cluster::{ClusterIdentity, ensure_different_clusters};
use super::target::{ClusterConnection, KubeconfigFlags, TargetCluster};
use crate::cluster::ReadCluster as _;
use crate::diagnostic::Diagnostic;
use crate::files;
use crate::guard::AllowFlag;
use crate::plan::{AccessComparison, AggregatedRoles, Plan, aws_auth_diff, check_steps, check_waits};
use crate::policy::PolicyIndex;
use crate::report::{self, FORMAT_VERSION, PlanDocument, to_text};

const NOT_A_PLAN: &str = "is not a saved plan";

/// The number of subjects that are listed. The others are counted.
const MAX_LISTED: usize = 5;

/// A plan that was read from a file, and the connection to its cluster.
struct SavedPlan {
    cluster_name: Option<String>,
    connection: ClusterConnection,
    plan: Plan,
}

/// The content of a plan file, whose signature was verified if that was asked for.
pub(crate) struct SavedPlanFile<'a> {
    /// The path for messages.
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

/// Where the clusters of a saved plan are, and which risks are accepted.
pub(crate) struct SavedPlanSettings<'a> {
    /// A connection to use instead of the one in the file.
    pub(crate) connection: Option<ClusterConnection>,
    pub(crate) kubeconfig: KubeconfigFlags<'a>,
    pub(crate) allow: &'a [AllowFlag],
}

/// A plan of the file on the current state of its cluster.
enum OpenedPlan {
    Current(Box<ClusterPlan>),
    /// What has changed since the plan was made.
    Stale(Vec<Diagnostic>),
}

/// Connects to the clusters of a saved plan, and evaluates its plans on their current state.
pub(crate) fn open_saved_plan(
    file: &SavedPlanFile<'_>,
    settings: &SavedPlanSettings<'_>,
    context: &OpsContext,
) -> Result<Vec<ClusterPlan>, CommandError> {
    // All clusters are evaluated before the first write to any of them. `apply` evaluates each again before its first write.
    let saved: Vec<(usize, SavedPlan)> = parse_saved_plans(file)?.into_iter().enumerate().collect();
    let runtime = Handle::current();
    let open =
        |(position, saved)| runtime.block_on(Box::pin(open_one((position, saved), file.path, settings, context)));
    let (opened, ()) = run_clusters(WorkPhase::Observe, saved, context, open, || ());
    let (mut plans, mut identities, mut error) = (Vec::new(), Vec::new(), CommandError::default());
    for result in opened {
        match result {
            Ok((identity, opened)) => {
                identities.push(identity);
                plans.push(opened);
            }
            Err(other) => error.diagnostics.extend(other.diagnostics),
        }
    }
    ensure_different_clusters(&identities)?;
    if !error.diagnostics.is_empty() {
        return Err(error);
    }
    let (mut cluster_plans, mut stale) = (Vec::new(), Vec::new());
    for opened in plans {
        match opened {
            OpenedPlan::Current(cluster_plan) => cluster_plans.push(*cluster_plan),
            OpenedPlan::Stale(reasons) => stale.extend(reasons),
        }
    }
    match stale.pop() {
        None => Ok(cluster_plans),
        Some(last) => {
            stale.push(last.with_note("no changes were made").with_help("plan again"));
            Err(stale.into())
        }
    }
}

async fn open_one(
    (position, saved): (usize, SavedPlan),
    path: &Path,
    settings: &SavedPlanSettings<'_>,
    context: &OpsContext,
) -> Result<(ClusterIdentity, OpenedPlan), CommandError> {
    let SavedPlan { cluster_name, connection, mut plan } = saved;
    let connection = settings.connection.clone().unwrap_or(connection);
    let target = TargetCluster::new(position, cluster_name.clone(), connection.clone(), settings.kubeconfig, context);
    let reading = async {
        let connected = target.connect().await?;
        let facts = read_cluster_facts(&connected.cluster);
        let (state, facts) = futures::future::join(connected.cluster.read_state(), facts).await;
        Ok((connected, state?, facts))
    };
    let (connected, state, facts) = target.within_timeout(reading).await?;
    let name = cluster_name.as_deref().unwrap_or(&connected.label);
    let identity = ClusterIdentity::new(name, &connection, &state);
    // The state after a stale plan cannot be computed.
    let reasons = plan.staleness_reasons(&state, &AggregatedRoles::default());
    if !reasons.is_empty() {
        return Ok((identity, OpenedPlan::Stale(staleness_diagnostics(&connected.label, &reasons))));
    }
    let after = plan.state_after(&state).map_err(|error| after_state_error(&error))?;
    let comparison = AccessComparison::new(&state, &after);
    let policy_index = PolicyIndex::from_policy_name(&plan.policy);
    if let Some(reason) = plan.undisclosed_write(&state, &after) {
        return Err(changed_file_error(path, &reason));
    }
    // What is shown is computed from the writes, and must be what the file says.
    let affected_subjects = plan.renew_access_changes(&comparison);
    plan.aws_auth_diff = plan.aws_auth_diff.map(|_| aws_auth_diff(comparison.live, comparison.after));
    let name = cluster_name;
    let evaluating = ClusterPlan::evaluate(connected, plan, name, policy_index, &comparison, facts, settings.allow);
    let cluster_plan = evaluating.await?;
    // A refusal names the guard or invariant, which says more than that the access has changed.
    if affected_subjects.is_empty() || cluster_plan.is_refused() {
        return Ok((identity, OpenedPlan::Current(Box::new(cluster_plan))));
    }
    Ok((identity, OpenedPlan::Stale(vec![access_changed(&cluster_plan.label, &affected_subjects)])))
}

fn parse_saved_plans(file: &SavedPlanFile<'_>) -> Result<Vec<SavedPlan>, CommandError> {
    let (path, text) = (file.path, file.text);
    let name = path.display();
    let help = format!("make a new plan with `rolecall plan --out {name}`");
    let to_error = |message: String| CommandError::from_diagnostic(Diagnostic::error(message).with_help(help.clone()));
    // The help does not name a file that is not a plan as the value of `--out`: it can be the policy.
    let not_a_plan = |reason: String| {
        let error = Diagnostic::error(format!("{name} {reason}"));
        CommandError::from_diagnostic(error.with_help("make a plan with `rolecall plan POLICY --out plan.json`"))
    };
    if text.trim().is_empty() {
        return Err(not_a_plan(format!("{NOT_A_PLAN}: it is empty")));
    }
    let PlanDocument { plans, applied_at, .. } = parse_saved_plan(text).map_err(not_a_plan)?;
    if plans.is_empty() {
        return Err(not_a_plan(format!("{NOT_A_PLAN}: it has no plan for any cluster")));
    }
    let mut saved_plans = Vec::with_capacity(plans.len());
    let mut is_refused = false;
    for saved in plans {
        is_refused |= !saved.failed_invariants.is_empty();
        if !saved.has_access_changes() {
            return Err(not_a_plan(format!("{NOT_A_PLAN}: it is the output of `rolecall drift`")));
        }
        let (cluster_name, digest) = (saved.name.clone(), saved.digest.clone());
        let connection = saved.connection.clone().into();
        let plan = Plan::try_from(saved).map_err(|error| to_error(format!("{name} {NOT_A_PLAN}: {error}")))?;
        if report::digest(&plan)? != digest {
            return Err(changed_file_error(path, "the digest does not match the writes and changes"));
        }
        check_steps(&plan.steps)?;
        check_waits(&plan.waits, &plan.steps)?;
        saved_plans.push(SavedPlan { cluster_name, connection, plan });
    }
    if is_refused {
        let error = Diagnostic::error(format!("the plan {name} violates invariants of its policy"))
            .with_because("the file lists them in `failed-invariants`")
            .with_note("no changes were made")
            .with_help("fix the policy and plan again");
        return Err(CommandError::from_diagnostic(error).into_refusal());
    }
    if let Some(applied_at) = applied_at {
        return Err(to_error(format!(
            "{name} was already applied at {applied_at}: a saved plan can be applied only once"
        )));
    }
    Ok(saved_plans)
}

/// Parses a plan document.
///
/// # Errors
/// The reason why the text is not a plan, as the rest of a sentence that starts with the name of the file.
pub(crate) fn parse_saved_plan(text: &str) -> Result<PlanDocument, String> {
    match parse_plan_document(text)? {
        (document, true) => Ok(document),
        (_, false) => Err("was changed after it was saved: its content digest does not match".to_owned()),
    }
}

/// Parses a plan document, and returns whether it is as it was saved.
///
/// # Errors
/// The reason why the text is not a plan, as the rest of a sentence that starts with the name of the file.
pub(crate) fn parse_plan_document(text: &str) -> Result<(PlanDocument, bool), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{NOT_A_PLAN}: it is not JSON: {error}"))?;
    match value.get("format-version") {
        Some(version) if *version == FORMAT_VERSION => {}
        Some(version) => {
            return Err(format!(
                "has the format version {version}, but this rolecall reads only version {FORMAT_VERSION}"
            ));
        }
        None => return Err(format!("{NOT_A_PLAN}: it has no `format-version`")),
    }
    let document = PlanDocument::deserialize(&value).map_err(|error| format!("{NOT_A_PLAN}: {error}"))?;
    let is_unchanged = document.is_unchanged(&value).map_err(|error| error.to_string())?;
    Ok((document, is_unchanged))
}

fn changed_file_error(path: &Path, reason: &str) -> CommandError {
    let error = Diagnostic::error(format!("{} was changed after it was saved: {reason}", path.display()));
    CommandError::from_diagnostic(error.with_note("no changes were made").with_help("plan again"))
}

/// Records in the file that the plan was applied, since a plan can be applied once. Otherwise it could be applied again
/// after all its objects were changed back by hand.
pub(crate) fn mark_applied(path: &Path, context: &OpsContext) -> Result<(), CommandError> {
    let text = std::fs::read_to_string(context.cwd.join(path)).map_err(|error| format!("cannot be read: {error}"));
    let document = text.and_then(|text| parse_saved_plan(&text)).map_err(|reason| {
        CommandError::from_diagnostic(Diagnostic::error(format!("the plan {} {reason}", path.display())))
    })?;
    let document = document.with_applied_at(context.now.to_string())?;
    files::replace_input(&context.cwd.join(path), &to_text(&document)?).map_err(|error| {
        let diagnostic =
            Diagnostic::error(format!("cannot record in {} that the plan is applied: {error}", path.display()));
        CommandError::from_diagnostic(diagnostic.with_help(error.help()))
    })
}

/// Returns objects that a plan relies on have changed.
pub(crate) fn stale_plan_error(label: &str, reasons: &[String]) -> CommandError {
    let mut errors = staleness_diagnostics(label, reasons);
    if let Some(last) = errors.pop() {
        errors.push(last.with_help("plan again"));
    }
    CommandError::from(errors).into_lost_race()
}

fn staleness_diagnostics(label: &str, reasons: &[String]) -> Vec<Diagnostic> {
    reasons.iter().map(|reason| Diagnostic::error(format!("{label}: {reason} since the plan was made"))).collect()
}

/// The error if objects that a plan does not write have changed, and with them the effect of its writes.
pub(crate) fn access_changed_error(label: &str, affected_subjects: &[String]) -> CommandError {
    CommandError::from_diagnostic(access_changed(label, affected_subjects).with_help("plan again")).into_lost_race()
}

fn access_changed(label: &str, affected_subjects: &[String]) -> Diagnostic {
    let more = affected_subjects.len().saturating_sub(MAX_LISTED);
    let mut subjects: Vec<&str> = affected_subjects.iter().take(MAX_LISTED).map(String::as_str).collect();
    let remaining = format!("{more} more");
    if more > 0 {
        subjects.push(&remaining);
    }
    Diagnostic::error(format!("{label}: the effect of the plan on access has changed since the plan was made"))
        .with_because(format!("its access changes are different for {}", subjects.join(", ")))
        .with_note("RBAC roles, RBAC bindings or aws-auth entries that the plan does not write have changed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run_in;

    const SNAPSHOT: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: { name: aws-auth, namespace: kube-system, uid: u, resourceVersion: \"7\" }
data: { mapRoles: \"- rolearn: arn:aws:iam::111122223333:role/a\\n  username: a\\n\" }
";
    const POLICY: &str = "\
[policy]
name = \"p\"
[principals.a]
role = \"arn:aws:iam::111122223333:role/a\"
groups = [\"g\"]
[groups.g]
[cluster-roles.one]
rules = [{ verbs = [\"get\"], resources = [\"pods\"] }]
[bindings.one]
cluster-role = \"one\"
groups = [\"g\"]
[[invariants]]
group = \"g\"
cannot = \"escalate\"
";

    /// Returns the paths of all values, as JSON pointers.
    fn pointers(value: &Value, prefix: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                let pointer = format!("{prefix}/{}", key.replace('~', "~0").replace('/', "~1"));
                out.push(pointer.clone());
                pointers(value, &pointer, out);
            }),
            Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| {
                let pointer = format!("{prefix}/{index}");
                out.push(pointer.clone());
                pointers(value, &pointer, out);
            }),
            _ => {}
        }
    }

    fn other_value(value: &Value) -> Value {
        match value {
            Value::Null => Value::Bool(true),
            Value::Bool(value) => Value::Bool(!value),
            Value::Number(number) => (number.as_u64().unwrap_or(0) + 1).into(),
            Value::String(text) => format!("{text}x").into(),
            Value::Array(list) if list.is_empty() => serde_json::json!(["x"]),
            Value::Array(_) => serde_json::json!([]),
            Value::Object(map) if map.is_empty() => serde_json::json!({ "x": 1 }),
            Value::Object(_) => serde_json::json!({}),
        }
    }

    /// Any change of one value or one byte, and any cut, is refused or has no effect on the parsed document.
    #[test]
    fn changed_plan_file_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("cluster.yaml"), SNAPSHOT).unwrap();
        std::fs::write(folder.path().join("rolecall.toml"), POLICY).unwrap();
        let (_, stderr) = run_in(folder.path(), &["plan", "--snapshot", "cluster.yaml", "--out", "plan.json"]);
        let text = std::fs::read_to_string(folder.path().join("plan.json")).expect(&stderr);
        let original: Value = serde_json::from_str(&text).unwrap();
        assert!(parse_saved_plan(&text).is_ok());
        assert!(parse_saved_plan(&original.to_string()).is_ok(), "whitespace between tokens does not count");
        let mut paths = Vec::new();
        pointers(&original, "", &mut paths);
        assert!(paths.len() > 150, "{}", paths.len());
        for pointer in &paths {
            let mut edited = original.clone();
            let value = edited.pointer_mut(pointer).unwrap();
            *value = other_value(value);
            assert!(parse_saved_plan(&edited.to_string()).is_err(), "{pointer}");
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let mut edited = original.clone();
            match edited.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.shift_remove(&key.replace("~1", "/").replace("~0", "~"))),
                Value::Array(list) => drop(list.remove(key.parse().unwrap())),
                _ => {}
            }
            assert!(parse_saved_plan(&edited.to_string()).is_err(), "without {pointer}");
        }
        let to_json = |document: &PlanDocument| serde_json::to_value(document).unwrap();
        for index in (0..text.len()).step_by(29).chain(text.len() - 20..text.len()) {
            assert!(index + 1 == text.len() || parse_saved_plan(&text[..index]).is_err(), "cut at {index}");
            for byte in [b' ', b'0', b'x', b'"', text.as_bytes()[index] ^ 1] {
                let mut bytes = text.clone().into_bytes();
                bytes[index] = byte;
                let Ok(edited) = String::from_utf8(bytes) else { continue };
                if let Ok(document) = parse_saved_plan(&edited) {
                    assert_eq!(to_json(&document), original, "byte {index}");
                }
            }
        }
    }
}
