//! Carries plans out: everything that can be refused is refused before the first write of any cluster, and afterwards
//! the cluster is asked whether what was promised holds.

use super::apply::Way;
use super::exit::Exit;
use super::failure::Failure;
use super::planned::{Planned, unreadable};
use super::stopped::{left, past, stopped};
use super::world::World;
use super::{backup, guarded, report, saved};
use crate::access::{Access, Caller as Principal, Identity, Moment, Request, Who};
use crate::apply::awaiting::PATIENCE;
use crate::apply::confirm::{Before, LOOKS};
use crate::apply::lock::{self, Lock, Locked};
use crate::apply::proof::{self, ASKED, Proof};
use crate::apply::rehearsal::{BEFORE_AN_APPLY, Rehearsal, rehearse};
use crate::apply::{Watch, apply};
use crate::cluster::any::AnyCluster;
use crate::cluster::{Caller, ClusterError, ReadCluster as _, WriteCluster as _};
use crate::diagnostic::{Diagnostic, Sources};
use crate::guard;
use crate::names::ObjectKey;
use crate::plan::{Fate, Plan, Promise, Sides, Target};
use crate::render::words::count;
use crate::state::State;

/// `TokenSuccessCacheTTL` and `--authentication-token-webhook-cache-ttl` (kubernetes `pkg/kubeapiserver/authenticator`).
const SESSIONS: &str = "who lost an entry or a group of one keeps it under a token that the API server has seen, until \
                        that is forgotten: two minutes by default";
/// Refused writes named one by one.
const NAMED: usize = 20;

/// A plan whose writes can begin.
struct Ready<'a> {
    one: &'a Planned,
    lock: Option<Lock>,
    before: Option<Before>,
    promises: Vec<Promise>,
}

/// `--dry-run`: the cluster judges every write, and none is made.
pub(super) async fn judge_all(work: &[&Planned], sources: &Sources, world: &mut World) -> Result<Exit, Failure> {
    let mut refused = Vec::new();
    for one in work {
        let state = one.cluster.observe().await?;
        let caller = one.cluster.whoami().await?;
        let rehearsal = rehearse(&one.plan, &one.cluster, &state, caller.as_ref(), usize::MAX).await;
        let total = one.plan.steps.len();
        let unjudged = match total - rehearsal.judged {
            0 => String::new(),
            number => format!("; {number} stand on earlier ones and cannot be judged before"),
        };
        let no = rehearsal.refused.len();
        world.say(&format!("{}: of {} {no} would be refused{unjudged}\n", one.label, count(rehearsal.judged, "write")));
        refused.extend(refusals(one, &rehearsal));
    }
    if refused.is_empty() {
        return Ok(Exit::Done);
    }
    report(&Failure::new(sources.clone(), refused), super::args::Format::Text, world);
    Ok(Exit::Failed)
}

/// Carries out every plan, one cluster after the other.
pub(super) async fn carry_out_all(
    work: &[&Planned],
    sources: &Sources,
    way: &Way<'_>,
    world: &mut World,
) -> Result<Exit, Failure> {
    let mut ready: Vec<Ready<'_>> = Vec::with_capacity(work.len());
    let mut refused = Vec::new();
    let mut by_guards_alone = true;
    for one in work {
        match prepare(one, way, world).await {
            Ok(one) => ready.push(one),
            Err((lock, failure)) => {
                release(lock, world).await;
                by_guards_alone &= failure.refused;
                refused.extend(failure.found);
            }
        }
    }
    if refused.is_empty()
        && let Some(path) = way.consent.saved
        && let Err(failure) = saved::mark_used(path, world)
    {
        by_guards_alone = false;
        refused.extend(failure.found);
    }
    let mut failed = !refused.is_empty();
    let so = if failed && by_guards_alone { Exit::Refused } else { Exit::Failed };
    if failed {
        world.say("Nothing was written.\n");
        report(&Failure::new(sources.clone(), refused), super::args::Format::Text, world);
    }
    for one in ready {
        if !failed && let Err(failure) = carry_out(&one, world).await {
            report(&Failure::new(sources.clone(), failure.found), super::args::Format::Text, world);
            failed = true;
        }
        release(one.lock, world).await;
    }
    Ok(if failed { so } else { Exit::Done })
}

async fn release(lock: Option<Lock>, world: &mut World) {
    if let Some(lock) = lock
        && let Err(error) = lock.release().await
    {
        world.say(&format!("note: the Lease could not be given back, it ends by itself: {}\n", error.cause()));
    }
}

/// Everything before the first write. A Lease that was taken comes back with a failure.
async fn prepare<'a>(one: &'a Planned, way: &Way<'_>, world: &mut World) -> Result<Ready<'a>, (Option<Lock>, Failure)> {
    let caller = one.cluster.whoami().await.map_err(|error| (None, error.into()))?;
    let lock =
        locked(one, &way.care.lease_namespace, caller.as_ref(), world).await.map_err(|failure| (None, failure))?;
    match prepared(one, way, caller.as_ref(), world).await {
        Ok((before, promises)) => Ok(Ready { one, lock, before, promises }),
        Err(failure) => Err((lock, failure)),
    }
}

async fn prepared(
    one: &Planned,
    way: &Way<'_>,
    caller: Option<&Caller>,
    world: &mut World,
) -> Result<(Option<Before>, Vec<Promise>), Failure> {
    let Planned { cluster, plan, label, .. } = one;
    // A cluster that moved while a person was thinking is caught before the first write, not by the one that meets it.
    let state = cluster.observe().await?;
    let moved = plan.moved(&state);
    if !moved.is_empty() {
        return Err(saved::moved(label, &moved));
    }
    // What others changed meanwhile may have made the same writes dangerous, or let them do something else.
    let after = plan.after(&state).map_err(|fault| unreadable(&fault))?;
    let (verdict, broken, (others, promises)) = std::thread::scope(|scope| {
        let outcome = scope.spawn(|| plan.outcome(&state, &after, ASKED));
        let verdict = guard::judge(plan, &Sides::of(&state, &after), &one.seen, way.allow);
        let (broken, _) = guard::of_state(&plan.invariants, &one.known, &after);
        (verdict, broken, outcome.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    if !verdict.refused.is_empty() || !broken.is_empty() {
        return Err(guarded::refused_now(label, &verdict, &broken));
    }
    if !others.is_empty() {
        return Err(saved::other_outcome(label, &others));
    }
    let rehearsal = rehearse(plan, cluster, &state, caller, BEFORE_AN_APPLY).await;
    if !rehearsal.refused.is_empty() {
        return Err(refusals(one, &rehearsal).into());
    }
    if let Some(folder) = &way.care.backup {
        backup::write(one, folder, world).await?;
    }
    let before = if plan.steps.iter().any(|step| step.object == ObjectKey::aws_auth()) {
        Some(Before::of(plan, cluster, |caller| renamed(&after, caller)).await?)
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
fn renamed(after: &State, caller: &Caller) -> Vec<String> {
    let Some(arn) = caller.arn().and_then(|arn| Principal::parse(arn).ok()) else {
        return Vec::new();
    };
    let after = State { aws_auth: after.aws_auth.clone(), ..State::default() };
    let admission = Access::of(&after, Moment::Settled).admit(&Who::Arn(arn));
    let name = |identity: &Identity| Some(identity.username.as_ref()?.literal()?.to_owned());
    admission.identities().filter_map(name).collect()
}

async fn locked(
    one: &Planned,
    namespace: &str,
    caller: Option<&Caller>,
    world: &mut World,
) -> Result<Option<Lock>, Failure> {
    let Some(leases) = one.cluster.leases(namespace) else {
        return Ok(None);
    };
    let holder = holder(caller, world);
    let label = &one.label;
    match lock::take(leases, &holder, |waits| world.say(&format!("note: {label}: {waits}\n"))).await {
        Ok(Locked::Held(lock)) => Ok(Some(lock)),
        Ok(Locked::By { path, holder, since }) => {
            let error = Diagnostic::error(format!("{label}: another apply is running: {holder}, since {since}"));
            let hint = format!("it holds the Lease {path}, and renews it; apply again when it has ended");
            Err(Failure::of(error.hint(hint)))
        }
        Ok(Locked::Not(error)) => {
            world.say(&format!(
                "warning: {label}: no Lease keeps a second apply away, only the precondition of each write does: {}\n",
                error.cause()
            ));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A name that tells people who applies, and no other run has.
fn holder(caller: Option<&Caller>, world: &World) -> String {
    let name = caller.map_or("rolecall", |caller| caller.username.as_str());
    let host = world.env.get("HOSTNAME").filter(|host| !host.is_empty());
    let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
    let nanos = world.now.subsec_nanosecond();
    format!("{name}{host}, process {}-{nanos:x}", std::process::id())
}

/// What would be refused, all of it.
fn refusals(one: &Planned, rehearsal: &Rehearsal) -> Vec<Diagnostic> {
    let told = |(number, error): &(usize, ClusterError)| {
        let what = one.plan.steps.get(*number).map_or("a step", |step| step.why.as_str());
        let mut found = error.diagnostic();
        found.message = format!("{}: cannot {what}: {}", one.label, error.cause());
        found
    };
    let rest = |more| format!("{}: and {} would be refused", one.label, count(more, "more write"));
    first_few(&rehearsal.refused, told, rest)
}

/// The first of what is wrong one by one, and the others by their number.
fn first_few<T>(all: &[T], told: impl Fn(&T) -> Diagnostic, rest: impl Fn(usize) -> String) -> Vec<Diagnostic> {
    let more = all.len().saturating_sub(NAMED);
    let rest = (more > 0).then(|| Diagnostic::error(rest(more)));
    all.iter().take(NAMED).map(told).chain(rest).collect()
}

async fn carry_out(ready: &Ready<'_>, world: &mut World) -> Result<(), Failure> {
    let Ready { one, lock, before, promises } = ready;
    let total = one.plan.steps.len();
    let label = &one.label;
    world.say(&format!("\nApplying to {label}\n"));
    let width = total.to_string().len();
    let watch = Watch { patience: PATIENCE, before: before.as_ref(), looks: &LOOKS, lock: lock.as_ref() };
    let outcome = {
        let world = std::cell::RefCell::new(&mut *world);
        let number = std::cell::Cell::new(0);
        apply(&one.plan, &one.cluster, &watch, |step, written| {
            number.set(number.get() + 1);
            world.borrow_mut().say(&format!("  [{:>width$}/{total}] {}\n", number.get(), past(step, written)));
        })
        .await
    };
    let finished = one.cluster.finish().await;
    if let Err(error) = finished {
        let found = error.diagnostic().hint("nothing was written");
        return Err(Failure::of(found));
    }
    if !outcome.failed.is_empty() {
        world.say(&left(&one.plan.steps, &outcome));
        return Err(stopped(label, &one.plan.steps, &outcome, world));
    }
    let so = match outcome.unchanged {
        0 => String::new(),
        1 => ", 1 was so already".to_owned(),
        number => format!(", {number} were so already"),
    };
    let made = count(outcome.done.len() - outcome.unchanged, "write");
    world.print(&format!("Applied to {label}: {made} made{so}.\n"));
    if matches!(one.cluster, AnyCluster::Live(_)) && takes_from_entries(&one.plan) {
        world.say(&format!("note: {label}: {SESSIONS}\n"));
    }
    proven(one, promises, world).await
}

fn takes_from_entries(plan: &Plan) -> bool {
    let entries = plan.changes.iter().filter(|change| matches!(change.target, Target::Entry { .. }));
    let mut items = entries.flat_map(|change| &change.fields).flat_map(|field| &field.items);
    items.any(|item| item.fate == Fate::Removed)
}

/// Asks whether what the plan promised holds.
async fn proven(one: &Planned, promises: &[Promise], world: &mut World) -> Result<(), Failure> {
    if promises.is_empty() {
        return Ok(());
    }
    let label = &one.label;
    match proof::prove(promises, &one.cluster, PATIENCE).await {
        Proof::Holds(number) => {
            world.say(&format!("Checked: {} of the API server {} as planned.\n", count(number, "answer"), are(number)));
            Ok(())
        }
        Proof::Unasked(error) => {
            world.say(&format!("note: {label}: whether the access is as planned was not asked: {}\n", error.cause()));
            Ok(())
        }
        Proof::Broken(broken) => {
            let (later, broken): (Vec<_>, Vec<_>) = broken.into_iter().partition(|promise| promise.by_controller);
            if !later.is_empty() {
                world.say(&format!(
                    "note: {label}: {} {} not yet as planned: that waits for the controller that fills aggregated \
                     ClusterRoles\n",
                    count(later.len(), "answer"),
                    are(later.len())
                ));
            }
            if broken.is_empty() {
                return Ok(());
            }
            let told = |promise: &Promise| {
                let (may, planned) = if promise.allowed { ("may not", "may") } else { ("still may", "may not") };
                let request = Request::from(&promise.asked.question);
                Diagnostic::error(format!("{label}: {} {may} {request}, and by the plan {planned}", promise.who))
            };
            let rest = |more| format!("{label}: and {} not as planned", count(more, "more answer"));
            let mut said = first_few(&broken, told, rest);
            if let Some(last) = said.pop() {
                let hint = "every write was made; another authorizer, a controller or somebody else decides otherwise: see `rolecall can … --explain`";
                said.push(last.hint(hint));
            }
            Err(said.into())
        }
    }
}

fn are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}
