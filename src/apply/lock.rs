//! One apply at a time: a Lease, taken before the first write, renewed while the writes go on, and given back.
//!
//! Whether its holder lives is told by its renewals as they are seen here, by this machine's clock alone: clocks differ.
//! Only what its own times call long past, by more than clocks may differ for a token of AWS to be good, is taken over
//! unseen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::lock::Mutex;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::{ClusterError, Lease, LeaseClient};
use crate::state::write::WriteError;

/// Long enough for a few failed renewals, short enough to wait for after a crash.
const LEASE_SECONDS: u64 = 15;
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// Between two looks at somebody else's Lease.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Longest that a silent holder is watched; one with a longer Lease is believed.
const MAX_WATCH_SECONDS: u64 = 20;
/// STS takes no token from a clock that is further off.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);
/// Times that another may be faster at taking it.
const MAX_CONFLICTS: usize = 5;

/// How the Lease was met.
pub(crate) enum LockAttempt {
    Acquired(ApplyLock),
    /// Somebody else has it.
    HeldBy {
        lease_name: String,
        holder: String,
        since: String,
    },
    /// The caller may not have one: the preconditions alone keep applies apart.
    Unavailable(ClusterError),
}

/// A Lease that is ours until it is released.
pub(crate) struct ApplyLock {
    client: LeaseClient,
    lease: Arc<Mutex<Lease>>,
    lost: Arc<AtomicBool>,
    renew_task: JoinHandle<()>,
}

/// Takes the Lease; `waits` is told once where a silent holder is watched.
pub(crate) async fn acquire(
    leases: LeaseClient,
    holder: &str,
    mut waits: impl FnMut(&str),
) -> Result<LockAttempt, ClusterError> {
    let mut watched: Option<(Lease, Instant)> = None;
    let mut tries = 0;
    loop {
        let found = match leases.read().await {
            Ok(found) => found,
            Err(error @ ClusterError::Forbidden { .. }) => return Ok(LockAttempt::Unavailable(error)),
            Err(error) => return Err(error),
        };
        let now = Timestamp::now();
        let taken = match found {
            None => leases.create(holder, LEASE_SECONDS, now).await,
            // A lost answer, and it was ours.
            Some(lease) if lease.holder == holder => Ok(lease),
            Some(lease) if lease.holder.is_empty() || is_long_expired(&lease, now) => {
                leases.take_over(&lease, holder, LEASE_SECONDS, now).await
            }
            Some(lease) => {
                let (first, since) = watched.get_or_insert_with(|| {
                    waits(&format!(
                        "the Lease {} is held by {}; looking whether it is renewed",
                        leases.qualified_name(),
                        lease.holder
                    ));
                    (lease.clone(), Instant::now())
                });
                let alive = first.renew_time != lease.renew_time || first.holder != lease.holder;
                if alive || lease.duration_seconds > MAX_WATCH_SECONDS {
                    let since = lease.acquire_time.clone().unwrap_or_else(|| "it does not say when".to_owned());
                    return Ok(LockAttempt::HeldBy {
                        lease_name: leases.qualified_name(),
                        holder: lease.holder,
                        since,
                    });
                }
                if since.elapsed() < Duration::from_secs(lease.duration_seconds) {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    continue;
                }
                leases.take_over(&lease, holder, LEASE_SECONDS, now).await
            }
        };
        match taken {
            Ok(lease) => return Ok(LockAttempt::Acquired(ApplyLock::start_renewing(leases, lease))),
            Err(error @ ClusterError::Forbidden { .. }) => return Ok(LockAttempt::Unavailable(error)),
            Err(ClusterError::Rejected {
                refusal: WriteError::Conflict | WriteError::AlreadyExists | WriteError::NotFound,
                ..
            }) if tries < MAX_CONFLICTS => {
                tries += 1;
                watched = None;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_long_expired(lease: &Lease, now: Timestamp) -> bool {
    let renewed = lease.renew_time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let seconds = i64::try_from(lease.duration_seconds).unwrap_or(i64::MAX);
    renewed.is_some_and(|at| {
        let silent = now.duration_since(at);
        silent.checked_sub(MAX_CLOCK_SKEW).is_some_and(|silent| silent.as_secs() > seconds)
    })
}

impl ApplyLock {
    fn start_renewing(leases: LeaseClient, lease: Lease) -> Self {
        let held = Arc::new(Mutex::new(lease));
        let lost = Arc::new(AtomicBool::new(false));
        let renewal = tokio::spawn(run_renewal(leases.clone(), held.clone(), lost.clone()));
        Self { client: leases, lease: held, lost, renew_task: renewal }
    }

    /// Whether somebody else may have it by now.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Gives it back, so that the next one need not wait.
    pub(crate) async fn release(self) -> Result<(), ClusterError> {
        // Not within a renewal: its answer would be missed, and with it the version.
        let held = self.lease.lock().await;
        self.renew_task.abort();
        if self.is_lost() {
            return Ok(());
        }
        match self.client.release(&held, Timestamp::now()).await {
            // The answer to a renewal, or to this very request, was lost.
            Err(ClusterError::Rejected { .. }) => match self.client.read().await? {
                Some(lease) if lease.holder == held.holder => {
                    self.client.release(&lease, Timestamp::now()).await.map(drop)
                }
                Some(_) | None => Ok(()),
            },
            end => end.map(drop),
        }
    }
}

async fn run_renewal(leases: LeaseClient, held: Arc<Mutex<Lease>>, lost: Arc<AtomicBool>) {
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(LEASE_SECONDS) {
        tokio::time::sleep(RENEW_INTERVAL).await;
        let mut held = held.lock().await;
        match leases.renew(&held, Timestamp::now()).await {
            Ok(lease) => {
                *held = lease;
                last = Instant::now();
            }
            Err(ClusterError::Rejected { .. }) => match leases.read().await {
                // The answer to an earlier renewal was lost.
                Ok(Some(lease)) if lease.holder == held.holder => *held = lease,
                Ok(_) => break,
                Err(_) => {}
            },
            Err(_) => {}
        }
    }
    lost.store(true, Ordering::Relaxed);
}
