//! Prevents concurrent applies to one cluster: acquires a Lease before the first write, renews it during the apply and
//! releases it afterwards.
//!
//! Clocks of different machines differ. Whether a holder is alive is therefore decided by watching whether it renews
//! the Lease, with the clock of this machine. The times in the Lease are only trusted if they are older than any clock
//! difference can explain; such a Lease is taken over at once.
//!
//! A machine can be suspended, or the process stopped, for longer than the Lease lasts. Before each write the time since
//! the last renewal is therefore compared with the duration of the Lease, with a clock that counts sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::lock::Mutex;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use super::boot_clock::BootTime;
use crate::cluster::interrupt::Interrupt;
use crate::cluster::settings::duration_text;
use crate::cluster::{ClusterError, Lease, LeaseClient};
use crate::state::write::WriteError;

/// Long enough to survive a few failed renewals, and short enough to wait for after a crash.
const LEASE_SECONDS: u64 = 15;
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// The delay between two reads of a Lease that another process holds.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The longest that a Lease counts without a renewal, whatever duration it states. Every apply renews its Lease after a
/// few seconds, so the holder of one that is not renewed for this long has ended.
const MAX_LEASE_SECONDS: u64 = 60;
/// AWS STS rejects a request whose signature is older or newer than this, so a machine that can authenticate has a
/// clock with a smaller error.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);
/// After a signal, a request that acquires the Lease is waited for this long, so that the Lease can be released.
const SIGNAL_GRACE: Duration = Duration::from_secs(2);
/// How many times another process may write the Lease first before the attempt fails.
const MAX_CONFLICTS: usize = 5;

/// The result of an attempt to acquire the Lease.
pub(crate) enum LockAttempt {
    Acquired(ApplyLock),
    /// Another process holds the Lease.
    HeldBy(LeaseHolder),
    /// The caller is not allowed to read or write the Lease. Only the preconditions of the writes then protect against
    /// a concurrent apply.
    Unavailable(ClusterError),
    /// A signal ended the wait.
    Interrupted,
}

/// The process that holds the Lease.
pub(crate) struct LeaseHolder {
    pub(crate) lease_name: String,
    pub(crate) name: String,
    pub(crate) since: String,
    /// Whether it has renewed the Lease while it was watched. If not, the wait was too short to find out whether it is
    /// alive; holds how long it has to be.
    pub(crate) is_renewed: Result<(), Duration>,
}

/// A Lease that this process holds and renews until it is released or lost.
pub(crate) struct ApplyLock {
    client: LeaseClient,
    state: Arc<LockState>,
    renew_task: JoinHandle<()>,
}

struct LockState {
    lease: Mutex<Lease>,
    is_lost: AtomicBool,
    /// When the request of the last successful renewal was sent.
    renewed_at: std::sync::Mutex<BootTime>,
}

impl LockState {
    fn last_renewal(&self) -> std::sync::MutexGuard<'_, BootTime> {
        self.renewed_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns whether the Lease was taken over, or has expired. An expired Lease is not renewed: another apply may have
    /// acquired and released it in between.
    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed) || self.last_renewal().elapsed() >= Duration::from_secs(LEASE_SECONDS)
    }
}

/// Acquires the Lease. If it has to watch the current holder first, it calls `on_wait` once with a message for the
/// user, and waits at most `max_wait`.
pub(crate) async fn acquire(
    client: LeaseClient,
    holder: &str,
    max_wait: Duration,
    interrupt: &Interrupt,
    mut on_wait: impl FnMut(&str),
) -> Result<LockAttempt, ClusterError> {
    let mut watched: Option<(Lease, BootTime)> = None;
    let mut conflicts = 0;
    loop {
        let current = match interrupt.or_stop(client.read()).await {
            Some(Ok(current)) => current,
            Some(Err(error @ ClusterError::Forbidden { .. })) => return Ok(LockAttempt::Unavailable(error)),
            Some(Err(error)) => return Err(error),
            None => return Ok(LockAttempt::Interrupted),
        };
        let now = Timestamp::now();
        let sent_at = BootTime::now();
        let free = match current {
            None => None,
            // An earlier request of this loop succeeded, and its response was lost.
            Some(lease) if lease.holder == holder => {
                return Ok(LockAttempt::Acquired(ApplyLock::start_renewing(client, lease, sent_at)));
            }
            Some(lease) if lease.holder.is_empty() || is_long_expired(&lease, now) => Some(lease),
            Some(lease) => {
                let needed = watch_duration(&lease);
                let (first_seen, since) = watched.get_or_insert_with(|| {
                    on_wait(&wait_message(&client, &lease, needed.min(max_wait)));
                    (lease.clone(), BootTime::now())
                });
                let is_alive = first_seen.renew_time != lease.renew_time || first_seen.holder != lease.holder;
                let waited = since.elapsed();
                if is_alive || waited >= max_wait && waited < needed {
                    return Ok(LockAttempt::HeldBy(LeaseHolder {
                        lease_name: client.qualified_name(),
                        name: lease.holder,
                        since: lease.acquire_time.unwrap_or_else(|| "an unknown time".to_owned()),
                        is_renewed: if is_alive { Ok(()) } else { Err(needed) },
                    }));
                }
                if waited < needed {
                    if interrupt.or_stop(tokio::time::sleep(POLL_INTERVAL)).await.is_none() {
                        return Ok(LockAttempt::Interrupted);
                    }
                    continue;
                }
                Some(lease)
            }
        };
        let acquiring = async {
            match &free {
                None => client.create(holder, LEASE_SECONDS, now).await,
                Some(lease) => client.take_over(lease, holder, LEASE_SECONDS, now).await,
            }
        };
        let Some(result) = within_grace(interrupt, acquiring).await else {
            return Ok(LockAttempt::Interrupted);
        };
        match result {
            Ok(lease) => return Ok(LockAttempt::Acquired(ApplyLock::start_renewing(client, lease, sent_at))),
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

/// Waits for a request, and after a signal for [`SIGNAL_GRACE`] more. `None` if there is no answer by then: the Lease may
/// have been acquired, and expires by itself.
async fn within_grace<T>(interrupt: &Interrupt, request: impl Future<Output = T>) -> Option<T> {
    let mut request = Box::pin(request);
    match interrupt.or_stop(request.as_mut()).await {
        Some(result) => Some(result),
        None => tokio::time::timeout(SIGNAL_GRACE, request).await.ok(),
    }
}

/// Returns how long a Lease that is not renewed counts.
fn watch_duration(lease: &Lease) -> Duration {
    Duration::from_secs(lease.duration_seconds.min(MAX_LEASE_SECONDS))
}

fn wait_message(client: &LeaseClient, lease: &Lease, wait: Duration) -> String {
    let renewed = lease.renew_time.as_ref().map(|time| format!(", renewed at {time}")).unwrap_or_default();
    format!(
        "waiting up to {} for the Lease `{}`: it is held by {}{renewed}; if it is not renewed, that apply has ended",
        duration_text(wait),
        client.qualified_name(),
        lease.holder,
    )
}

/// Returns whether the Lease has expired even if the clocks of this machine and of the holder differ by
/// [`MAX_CLOCK_SKEW`].
fn is_long_expired(lease: &Lease, now: Timestamp) -> bool {
    let renewed_at = lease.renew_time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    renewed_at.is_some_and(|renewed_at| {
        let age = now.duration_since(renewed_at).checked_sub(MAX_CLOCK_SKEW);
        age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > watch_duration(lease))
    })
}

impl ApplyLock {
    /// `sent_at` is when the request that acquired the Lease was sent.
    fn start_renewing(client: LeaseClient, lease: Lease, sent_at: BootTime) -> Self {
        let state = Arc::new(LockState {
            lease: Mutex::new(lease),
            is_lost: AtomicBool::new(false),
            renewed_at: std::sync::Mutex::new(sent_at),
        });
        let renew_task = tokio::spawn(run_renewal(client.clone(), state.clone()));
        Self { client, state, renew_task }
    }

    /// Returns whether another process may hold the Lease by now.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.is_lost()
    }

    /// Releases the Lease, so that the next apply does not have to wait until it expires.
    ///
    /// # Errors
    /// Why it was not released, such as a renewal that takes longer than the Lease lasts.
    pub(crate) async fn release(self) -> Result<(), String> {
        let limit = Duration::from_secs(LEASE_SECONDS);
        match tokio::time::timeout(limit, self.try_release()).await {
            Ok(result) => result.map_err(|error| error.cause()),
            Err(_) => Err(format!("the API server did not answer within {}", duration_text(limit))),
        }
    }

    async fn try_release(&self) -> Result<(), ClusterError> {
        // The mutex is taken before the task is aborted: a renewal that is aborted between request and response would
        // leave an outdated version in `lease`.
        let lease = self.state.lease.lock().await;
        self.renew_task.abort();
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
async fn run_renewal(client: LeaseClient, state: Arc<LockState>) {
    while !state.is_lost() {
        tokio::time::sleep(RENEW_INTERVAL).await;
        let mut lease = state.lease.lock().await;
        if state.is_lost() {
            break;
        }
        let sent_at = BootTime::now();
        // Later, the Lease has expired in any case.
        let remaining = Duration::from_secs(LEASE_SECONDS).saturating_sub(state.last_renewal().elapsed());
        let Ok(result) = tokio::time::timeout(remaining, client.renew(&lease, Timestamp::now())).await else {
            break;
        };
        match result {
            Ok(renewed) => {
                *lease = renewed;
                *state.last_renewal() = sent_at;
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
    state.is_lost.store(true, Ordering::Relaxed);
}
