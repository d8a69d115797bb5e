//! Prevents concurrent applies to one cluster: acquires a Lease before the first write, renews it during the apply and
//! releases it afterwards.
//!
//! Clocks of different machines differ. Whether a holder is alive is therefore decided by watching whether it renews
//! the Lease, with the monotonic clock of this machine. The times in the Lease are only trusted if they are older than
//! any clock difference can explain; such a Lease is taken over at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::lock::Mutex;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::{ClusterError, Lease, LeaseClient};
use crate::state::write::WriteError;

/// Long enough to survive a few failed renewals, and short enough to wait for after a crash.
const LEASE_SECONDS: u64 = 15;
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// The delay between two reads of a Lease that another process holds.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The longest that a holder is watched for a renewal. A holder with a longer Lease counts as alive.
const MAX_WATCH_SECONDS: u64 = 20;
/// AWS STS rejects a request whose signature is older or newer than this, so a machine that can authenticate has a
/// clock with a smaller error.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);
/// How many times another process may write the Lease first before the attempt fails.
const MAX_CONFLICTS: usize = 5;

/// The result of an attempt to acquire the Lease.
pub(crate) enum LockAttempt {
    Acquired(ApplyLock),
    /// Another process holds the Lease.
    HeldBy {
        lease_name: String,
        holder: String,
        since: String,
    },
    /// The caller is not allowed to read or write the Lease. Only the preconditions of the writes then protect against
    /// a concurrent apply.
    Unavailable(ClusterError),
}

/// A Lease that this process holds and renews until it is released or lost.
pub(crate) struct ApplyLock {
    client: LeaseClient,
    lease: Arc<Mutex<Lease>>,
    lost: Arc<AtomicBool>,
    renew_task: JoinHandle<()>,
}

/// Acquires the Lease. If it has to watch the current holder first, it calls `on_wait` once with a message for the
/// user.
pub(crate) async fn acquire(
    client: LeaseClient,
    holder: &str,
    mut on_wait: impl FnMut(&str),
) -> Result<LockAttempt, ClusterError> {
    let mut watched: Option<(Lease, Instant)> = None;
    let mut conflicts = 0;
    loop {
        let current = match client.read().await {
            Ok(current) => current,
            Err(error @ ClusterError::Forbidden { .. }) => return Ok(LockAttempt::Unavailable(error)),
            Err(error) => return Err(error),
        };
        let now = Timestamp::now();
        let result = match current {
            None => client.create(holder, LEASE_SECONDS, now).await,
            // An earlier request of this loop succeeded, and its response was lost.
            Some(lease) if lease.holder == holder => Ok(lease),
            Some(lease) if lease.holder.is_empty() || is_long_expired(&lease, now) => {
                client.take_over(&lease, holder, LEASE_SECONDS, now).await
            }
            Some(lease) => {
                let (first_seen, since) = watched.get_or_insert_with(|| {
                    on_wait(&format!(
                        "the Lease `{}` is held by {}; checking whether it is still renewed",
                        client.qualified_name(),
                        lease.holder
                    ));
                    (lease.clone(), Instant::now())
                });
                let is_alive = first_seen.renew_time != lease.renew_time || first_seen.holder != lease.holder;
                if is_alive || lease.duration_seconds > MAX_WATCH_SECONDS {
                    let since = lease.acquire_time.clone().unwrap_or_else(|| "an unknown time".to_owned());
                    return Ok(LockAttempt::HeldBy {
                        lease_name: client.qualified_name(),
                        holder: lease.holder,
                        since,
                    });
                }
                if since.elapsed() < Duration::from_secs(lease.duration_seconds) {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    continue;
                }
                client.take_over(&lease, holder, LEASE_SECONDS, now).await
            }
        };
        match result {
            Ok(lease) => return Ok(LockAttempt::Acquired(ApplyLock::start_renewing(client, lease))),
            Err(error @ ClusterError::Forbidden { .. }) => return Ok(LockAttempt::Unavailable(error)),
            Err(ClusterError::Rejected {
                refusal: WriteError::Conflict | WriteError::AlreadyExists | WriteError::NotFound,
                ..
            }) if conflicts < MAX_CONFLICTS => {
                conflicts += 1;
                watched = None;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Returns whether the Lease has expired even if the clocks of this machine and of the holder differ by
/// [`MAX_CLOCK_SKEW`].
fn is_long_expired(lease: &Lease, now: Timestamp) -> bool {
    let renewed_at = lease.renew_time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let seconds = i64::try_from(lease.duration_seconds).unwrap_or(i64::MAX);
    renewed_at.is_some_and(|renewed_at| {
        let age = now.duration_since(renewed_at);
        age.checked_sub(MAX_CLOCK_SKEW).is_some_and(|age| age.as_secs() > seconds)
    })
}

impl ApplyLock {
    fn start_renewing(client: LeaseClient, lease: Lease) -> Self {
        let lease = Arc::new(Mutex::new(lease));
        let lost = Arc::new(AtomicBool::new(false));
        let renew_task = tokio::spawn(run_renewal(client.clone(), lease.clone(), lost.clone()));
        Self { client, lease, lost, renew_task }
    }

    /// Returns whether another process may hold the Lease by now.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Releases the Lease, so that the next apply does not have to wait until it expires.
    pub(crate) async fn release(self) -> Result<(), ClusterError> {
        // The mutex is taken before the task is aborted: a renewal that is aborted between request and response would
        // leave an outdated version in `lease`.
        let lease = self.lease.lock().await;
        self.renew_task.abort();
        if self.is_lost() {
            return Ok(());
        }
        match self.client.release(&lease, Timestamp::now()).await {
            // The response to an earlier renewal, or to the first try of this request, was lost.
            Err(ClusterError::Rejected { .. }) => match self.client.read().await? {
                Some(current) if current.holder == lease.holder => {
                    self.client.release(&current, Timestamp::now()).await.map(drop)
                }
                Some(_) | None => Ok(()),
            },
            result => result.map(drop),
        }
    }
}

/// Renews the Lease until it is lost: until another process holds it, or until no renewal has succeeded for its
/// duration.
async fn run_renewal(client: LeaseClient, lease: Arc<Mutex<Lease>>, lost: Arc<AtomicBool>) {
    let mut last_renewal = Instant::now();
    while last_renewal.elapsed() < Duration::from_secs(LEASE_SECONDS) {
        tokio::time::sleep(RENEW_INTERVAL).await;
        let mut lease = lease.lock().await;
        match client.renew(&lease, Timestamp::now()).await {
            Ok(renewed) => {
                *lease = renewed;
                last_renewal = Instant::now();
            }
            Err(ClusterError::Rejected { .. }) => match client.read().await {
                // The response to an earlier renewal was lost.
                Ok(Some(current)) if current.holder == lease.holder => *lease = current,
                Ok(_) => break,
                Err(_) => {}
            },
            Err(_) => {}
        }
    }
    lost.store(true, Ordering::Relaxed);
}
