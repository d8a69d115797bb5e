//! Carries plans out: everything that can be refused is refused before the first write of any cluster, and afterwards
//! the cluster is asked whether what was promised holds.

use super::apply::ApplyOptions;
use super::apply_report::{apply_error, describe_outcome, summarize_steps};
use super::cluster_plan::{ClusterPlan, after_state_error};
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::{backup, guards, print_error, saved_plan};
use crate::access::{AccessView, Aggregation, IamIdentity as Principal, Identity, Request, SubjectQuery};
use crate::apply::dry_run::{DryRunResult, MAX_DRY_RUN_WRITES, dry_run};
use crate::apply::lock::{self, ApplyLock, LockAttempt};
use crate::apply::lockout::{AwsAuthBaseline, PROBE_DELAYS};
use crate::apply::polling::PROBE_SCHEDULE;
use crate::apply::verification::{self, MAX_CHECKS, Verification};
use crate::apply::{ApplyHooks, apply};
use crate::cluster::any::AnyCluster;
use crate::cluster::{ClusterError, ReadCluster as _, UserInfo, WriteCluster as _};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::guard;
use crate::names::ObjectKey;
use crate::plan::{AccessComparison, ChangeTarget, DiffOp, Plan, PostApplyCheck};
use crate::render::text_util::pluralize;
use crate::state::State;

/// `TokenSuccessCacheTTL` and `--authentication-token-webhook-cache-ttl` (kubernetes `pkg/kubeapiserver/authenticator`).
const TOKEN_CACHE_NOTE: &str = "who lost an entry or a group of one keeps it under a token that the API server has seen, until \
                        that is forgotten: two minutes by default";
/// Refused writes named one by one.
const MAX_LISTED: usize = 20;

/// A plan whose writes can begin.
struct PreparedApply<'a> {
    cluster_plan: &'a ClusterPlan,
    lock: Option<ApplyLock>,
    aws_auth_baseline: Option<AwsAuthBaseline>,
    checks: Vec<PostApplyCheck>,
}

/// `--dry-run`: the cluster judges every write, and none is made.
pub(super) async fn dry_run_all(
    work: &[&ClusterPlan],
    sources: &SourceMap,
    world: &mut Env,
) -> Result<Exit, CommandError> {
    let mut refused = Vec::new();
    for one in work {
        let state = one.cluster.observe().await?;
        let caller = one.cluster.whoami().await?;
        let rehearsal = dry_run(&one.plan, &one.cluster, &state, caller.as_ref(), usize::MAX).await;
        let total = one.plan.steps.len();
        let unjudged = match total - rehearsal.checked {
            0 => String::new(),
            number => format!("; {number} stand on earlier ones and cannot be judged before"),
        };
        let no = rehearsal.rejected.len();
        world.note(&format!(
            "{}: of {} {no} would be refused{unjudged}\n",
            one.label,
            pluralize(rehearsal.checked, "write")
        ));
        refused.extend(dry_run_errors(one, &rehearsal));
    }
    if refused.is_empty() {
        return Ok(Exit::Success);
    }
    print_error(&CommandError::new(sources.clone(), refused), super::args::OutputFormat::Text, world);
    Ok(Exit::Failed)
}

/// Carries out every plan, one cluster after the other.
pub(super) async fn apply_all(
    work: &[&ClusterPlan],
    sources: &SourceMap,
    way: &ApplyOptions<'_>,
    world: &mut Env,
) -> Result<Exit, CommandError> {
    let mut ready: Vec<PreparedApply<'_>> = Vec::with_capacity(work.len());
    let mut refused = Vec::new();
    let mut by_guards_alone = true;
    for one in work {
        match prepare(one, way, world).await {
            Ok(one) => ready.push(one),
            Err((lock, failure)) => {
                release_lock(lock, world).await;
                by_guards_alone &= failure.is_refusal;
                refused.extend(failure.diagnostics);
            }
        }
    }
    if refused.is_empty()
        && let Some(path) = way.approval.saved_plan
        && let Err(failure) = saved_plan::mark_applied(path, world)
    {
        by_guards_alone = false;
        refused.extend(failure.diagnostics);
    }
    let mut failed = !refused.is_empty();
    let so = if failed && by_guards_alone { Exit::Refused } else { Exit::Failed };
    if failed {
        world.eprint("Nothing was written.\n");
        print_error(&CommandError::new(sources.clone(), refused), super::args::OutputFormat::Text, world);
    }
    for one in ready {
        if !failed && let Err(failure) = apply_one(&one, world).await {
            print_error(
                &CommandError::new(sources.clone(), failure.diagnostics),
                super::args::OutputFormat::Text,
                world,
            );
            failed = true;
        }
        release_lock(one.lock, world).await;
    }
    Ok(if failed { so } else { Exit::Success })
}

async fn release_lock(lock: Option<ApplyLock>, world: &mut Env) {
    if let Some(lock) = lock
        && let Err(error) = lock.release().await
    {
        world.note(&format!("note: the Lease could not be given back, it ends by itself: {}\n", error.cause()));
    }
}

/// Everything before the first write. A Lease that was taken comes back with a failure.
async fn prepare<'a>(
    one: &'a ClusterPlan,
    way: &ApplyOptions<'_>,
    world: &mut Env,
) -> Result<PreparedApply<'a>, (Option<ApplyLock>, CommandError)> {
    let caller = one.cluster.whoami().await.map_err(|error| (None, error.into()))?;
    let lock = acquire_lock(one, &way.flags.lease_namespace, caller.as_ref(), world)
        .await
        .map_err(|failure| (None, failure))?;
    match run_prechecks(one, way, caller.as_ref(), world).await {
        Ok((before, promises)) => {
            Ok(PreparedApply { cluster_plan: one, lock, aws_auth_baseline: before, checks: promises })
        }
        Err(failure) => Err((lock, failure)),
    }
}

async fn run_prechecks(
    one: &ClusterPlan,
    way: &ApplyOptions<'_>,
    caller: Option<&UserInfo>,
    world: &mut Env,
) -> Result<(Option<AwsAuthBaseline>, Vec<PostApplyCheck>), CommandError> {
    let ClusterPlan { cluster, plan, label, .. } = one;
    // A cluster that moved while a person was thinking is caught before the first write, not by the one that meets it.
    let state = cluster.observe().await?;
    let moved = plan.staleness_reasons(&state);
    if !moved.is_empty() {
        return Err(saved_plan::stale_plan_error(label, &moved));
    }
    // What others changed meanwhile may have made the same writes dangerous, or let them do something else.
    let after = plan.state_after(&state).map_err(|fault| after_state_error(&fault))?;
    let (verdict, broken, (others, promises)) = std::thread::scope(|scope| {
        let outcome = scope.spawn(|| plan.recheck_access(&state, &after, MAX_CHECKS));
        let verdict = guard::evaluate_guards(plan, &AccessComparison::new(&state, &after), &one.facts, way.allow_flags);
        let (broken, _) = guard::check_invariants(&plan.invariants, &one.policy_index, &after);
        (verdict, broken, outcome.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    if !verdict.refused.is_empty() || !broken.is_empty() {
        return Err(guards::late_refusal(label, &verdict, &broken));
    }
    if !others.is_empty() {
        return Err(saved_plan::access_changed_error(label, &others));
    }
    let rehearsal = dry_run(plan, cluster, &state, caller, MAX_DRY_RUN_WRITES).await;
    if !rehearsal.rejected.is_empty() {
        return Err(dry_run_errors(one, &rehearsal).into());
    }
    if let Some(folder) = &way.flags.backup {
        backup::write_backup(one, folder, world).await?;
    }
    let before = if plan.steps.iter().any(|step| step.object == ObjectKey::aws_auth()) {
        Some(AwsAuthBaseline::for_plan(plan, cluster, |caller| usernames_after(&after, caller)).await?)
    } else {
        None
    };
    // A snapshot answers by the very rules that promise.
    let promises = match cluster {
        AnyCluster::Live(_) => promises,
        AnyCluster::Snapshot(_) => Vec::new(),
    };
    // The run ends soon: giving back a large state string by string would take longer than the plan.
    std::mem::forget((state, after));
    Ok((before, promises))
}

/// The names by which the plan's own aws-auth lets the caller in.
fn usernames_after(after: &State, caller: &UserInfo) -> Vec<String> {
    let Some(arn) = caller.arn().and_then(|arn| Principal::parse(arn).ok()) else {
        return Vec::new();
    };
    let after = State { aws_auth: after.aws_auth.clone(), ..State::default() };
    let admission = AccessView::new(&after, Aggregation::Reconciled).authenticate(&SubjectQuery::Arn(arn));
    let name = |identity: &Identity| Some(identity.username.as_ref()?.as_literal()?.to_owned());
    admission.identities().filter_map(name).collect()
}

async fn acquire_lock(
    one: &ClusterPlan,
    namespace: &str,
    caller: Option<&UserInfo>,
    world: &mut Env,
) -> Result<Option<ApplyLock>, CommandError> {
    let Some(leases) = one.cluster.lease_client(namespace) else {
        return Ok(None);
    };
    let holder = lease_holder(caller, world);
    let label = &one.label;
    match lock::acquire(leases, &holder, |waits| world.note(&format!("note: {label}: {waits}\n"))).await {
        Ok(LockAttempt::Acquired(lock)) => Ok(Some(lock)),
        Ok(LockAttempt::HeldBy { lease_name: path, holder, since }) => {
            let error = Diagnostic::error(format!("{label}: another apply is running: {holder}, since {since}"));
            let hint = format!("it holds the Lease {path}, and renews it; apply again when it has ended");
            Err(CommandError::from_diagnostic(error.with_help(hint)))
        }
        Ok(LockAttempt::Unavailable(error)) => {
            world.note(&format!(
                "warning: {label}: no Lease keeps a second apply away, only the precondition of each write does: {}\n",
                error.cause()
            ));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A name that tells people who applies, and no other run has.
fn lease_holder(caller: Option<&UserInfo>, world: &Env) -> String {
    let name = caller.map_or("rolecall", |caller| caller.username.as_str());
    let host = world.vars.get("HOSTNAME").filter(|host| !host.is_empty());
    let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
    let nanos = world.now.subsec_nanosecond();
    format!("{name}{host}, process {}-{nanos:x}", std::process::id())
}

/// What would be refused, all of it.
fn dry_run_errors(one: &ClusterPlan, rehearsal: &DryRunResult) -> Vec<Diagnostic> {
    let told = |(number, error): &(usize, ClusterError)| {
        let what = one.plan.steps.get(*number).map_or("a step", |step| step.description.as_str());
        let mut found = error.to_diagnostic();
        found.message = format!("{}: cannot {what}: {}", one.label, error.cause());
        found
    };
    let rest = |more| format!("{}: and {} would be refused", one.label, pluralize(more, "more write"));
    list_first(&rehearsal.rejected, told, rest)
}

/// The first of what is wrong one by one, and the others by their number.
fn list_first<T>(all: &[T], told: impl Fn(&T) -> Diagnostic, rest: impl Fn(usize) -> String) -> Vec<Diagnostic> {
    let more = all.len().saturating_sub(MAX_LISTED);
    let rest = (more > 0).then(|| Diagnostic::error(rest(more)));
    all.iter().take(MAX_LISTED).map(told).chain(rest).collect()
}

async fn apply_one(ready: &PreparedApply<'_>, world: &mut Env) -> Result<(), CommandError> {
    let PreparedApply { cluster_plan: one, lock, aws_auth_baseline: before, checks: promises } = ready;
    let total = one.plan.steps.len();
    let label = &one.label;
    world.note(&format!("\nApplying to {label}\n"));
    let width = total.to_string().len();
    let watch = ApplyHooks {
        schedule: PROBE_SCHEDULE,
        aws_auth_baseline: before.as_ref(),
        probe_delays: &PROBE_DELAYS,
        lock: lock.as_ref(),
    };
    let outcome = {
        let world = std::cell::RefCell::new(&mut *world);
        let number = std::cell::Cell::new(0);
        apply(&one.plan, &one.cluster, &watch, |step, written| {
            number.set(number.get() + 1);
            world.borrow_mut().note(&format!(
                "  [{:>width$}/{total}] {}\n",
                number.get(),
                describe_outcome(step, written)
            ));
        })
        .await
    };
    let finished = one.cluster.flush().await;
    if let Err(error) = finished {
        let found = error.to_diagnostic().with_help("nothing was written");
        return Err(CommandError::from_diagnostic(found));
    }
    if !outcome.failed.is_empty() {
        world.eprint(&summarize_steps(&one.plan.steps, &outcome));
        return Err(apply_error(label, &one.plan.steps, &outcome, world));
    }
    let so = match outcome.unchanged {
        0 => String::new(),
        1 => ", 1 was so already".to_owned(),
        number => format!(", {number} were so already"),
    };
    let made = pluralize(outcome.completed.len() - outcome.unchanged, "write");
    world.print_wrapped(&format!("Applied to {label}: {made} made{so}.\n"));
    if matches!(one.cluster, AnyCluster::Live(_)) && removes_entry_fields(&one.plan) {
        world.note(&format!("note: {label}: {TOKEN_CACHE_NOTE}\n"));
    }
    verify_access(one, promises, world).await
}

fn removes_entry_fields(plan: &Plan) -> bool {
    let entries = plan.changes.iter().filter(|change| matches!(change.target, ChangeTarget::Entry { .. }));
    let mut items = entries.flat_map(|change| &change.fields).flat_map(|field| &field.values);
    items.any(|item| item.op == DiffOp::Remove)
}

/// Asks whether what the plan promised holds.
async fn verify_access(one: &ClusterPlan, promises: &[PostApplyCheck], world: &mut Env) -> Result<(), CommandError> {
    if promises.is_empty() {
        return Ok(());
    }
    let label = &one.label;
    match verification::verify(promises, &one.cluster, PROBE_SCHEDULE).await {
        Verification::Passed(number) => {
            world.note(&format!(
                "Checked: {} of the API server {} as planned.\n",
                pluralize(number, "answer"),
                is_or_are(number)
            ));
            Ok(())
        }
        Verification::NotChecked(error) => {
            world.note(&format!("note: {label}: whether the access is as planned was not asked: {}\n", error.cause()));
            Ok(())
        }
        Verification::Failed(broken) => {
            let (later, broken): (Vec<_>, Vec<_>) = broken.into_iter().partition(|promise| promise.awaits_aggregation);
            if !later.is_empty() {
                world.note(&format!(
                    "note: {label}: {} {} not yet as planned: that waits for the controller that fills aggregated \
                     ClusterRoles\n",
                    pluralize(later.len(), "answer"),
                    is_or_are(later.len())
                ));
            }
            if broken.is_empty() {
                return Ok(());
            }
            let told = |promise: &PostApplyCheck| {
                let (may, planned) = if promise.expect_allowed { ("may not", "may") } else { ("still may", "may not") };
                let request = Request::from(&promise.probe.request);
                Diagnostic::error(format!("{label}: {} {may} {request}, and by the plan {planned}", promise.subject))
            };
            let rest = |more| format!("{label}: and {} not as planned", pluralize(more, "more answer"));
            let mut said = list_first(&broken, told, rest);
            if let Some(last) = said.pop() {
                let hint = "every write was made; another authorizer, a controller or somebody else decides otherwise: see `rolecall can … --explain`";
                said.push(last.with_help(hint));
            }
            Err(said.into())
        }
    }
}

fn is_or_are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}
