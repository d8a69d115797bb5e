//! Acquires and releases the Lease of an apply, and explains who holds it.

use std::time::Duration;

use super::apply_run::ApplySettings;
use super::cluster_plan::ClusterPlan;
use super::command_error::CommandError;
use super::context::OpsContext;
use super::observer::{EventKind, LeaseState, Observer};
use crate::apply::lock::{self, ApplyLock, LeaseHolder, LockAttempt};
use crate::cluster::UserInfo;
use crate::cluster::settings::duration_text;
use crate::diagnostic::Diagnostic;

/// The default of `--lease-timeout`.
const DEFAULT_LEASE_TIMEOUT: Duration = Duration::from_mins(1);

/// Acquires the Lease. `None` for a snapshot, and if the caller is not allowed to use Leases.
///
/// # Errors
/// If another apply holds it, or a signal ended the wait.
pub(super) async fn acquire_lock(
    cluster_plan: &ClusterPlan,
    settings: &ApplySettings<'_>,
    caller: Option<&UserInfo>,
    context: &OpsContext,
) -> Result<Option<ApplyLock>, CommandError> {
    let Some(leases) = cluster_plan.cluster.lease_client(settings.lease_namespace) else {
        return Ok(None);
    };
    let name = lease_holder_name(caller, context);
    let label = &cluster_plan.label;
    let max_wait = settings.lease_timeout.unwrap_or(DEFAULT_LEASE_TIMEOUT);
    let interrupt = &context.connection.interrupt;
    let on_wait = |message: &str| {
        cluster_plan.observer.send(EventKind::Lease(LeaseState::Waiting));
        cluster_plan.observer.note(message);
    };
    match lock::acquire(leases, &name, max_wait, interrupt, on_wait).await? {
        LockAttempt::Acquired(lock) => {
            cluster_plan.observer.send(EventKind::Lease(LeaseState::Acquired));
            Ok(Some(lock))
        }
        LockAttempt::HeldBy(holder) => {
            Err(CommandError::from_diagnostic(held_lease_error(label, &holder, settings.lease_namespace)))
        }
        LockAttempt::Interrupted => Err(interrupted_before_writes(label)),
        LockAttempt::Unavailable(error) => {
            cluster_plan.observer.warn(&format!(
                "no Lease was acquired: {}. Concurrent applies are detected only by the preconditions of the writes.",
                error.cause()
            ));
            Ok(None)
        }
    }
}

fn held_lease_error(label: &str, holder: &LeaseHolder, namespace: &str) -> Diagnostic {
    let LeaseHolder { lease_name, name, since, is_renewed } = holder;
    let clear = format!("kubectl delete lease rolecall --namespace {namespace}");
    match is_renewed {
        Ok(()) => Diagnostic::error(format!("{label}: another apply is running: {name}, since {since}"))
            .with_because(format!("it holds the Lease {lease_name} and renews it"))
            .with_help("wait until it has finished, then apply again")
            .with_help(format!("if it hangs, stop it; if something else renews the Lease, run `{clear}`")),
        Err(needed) => {
            let needed = duration_text(*needed);
            Diagnostic::error(format!("{label}: another apply may be running: {name}, since {since}"))
                .with_because(format!(
                    "it holds the Lease {lease_name} and has not renewed it while --lease-timeout lasted"
                ))
                .with_note(format!("without a renewal, the Lease is taken over after {needed}"))
                .with_help(format!("pass --lease-timeout {needed}, or make sure that it has ended and run `{clear}`"))
        }
    }
}

/// The error if a signal ends an apply before its first write.
pub(super) fn interrupted_before_writes(label: &str) -> CommandError {
    CommandError::from_diagnostic(Diagnostic::error(format!("{label}: stopped by a signal before the first write")))
}

pub(super) async fn release_lock(lock: Option<ApplyLock>, observer: &Observer) {
    let Some(lock) = lock else {
        return;
    };
    match lock.release().await {
        Ok(()) => observer.send(EventKind::Lease(LeaseState::Released)),
        Err(reason) => observer.note(&format!("the Lease could not be released, it expires by itself: {reason}")),
    }
}

/// Returns the holder of the Lease: it names the caller and the machine, and is different for each run.
fn lease_holder_name(caller: Option<&UserInfo>, context: &OpsContext) -> String {
    let name = caller.map_or("rolecall", |caller| caller.username.as_str());
    let host = context.vars.get("HOSTNAME").filter(|host| !host.is_empty());
    let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
    let nanos = context.now.subsec_nanosecond();
    format!("{name}{host}, process {}-{nanos:x}", std::process::id())
}
