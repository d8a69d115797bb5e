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

use crate::cluster::{ClusterError, Lease, Leases};
use crate::state::write::Refusal;

/// Long enough for a few failed renewals, short enough to wait for after a crash.
const SECONDS: u64 = 15;
const RENEWAL: Duration = Duration::from_secs(4);
/// Between two looks at somebody else's Lease.
const LOOK: Duration = Duration::from_millis(500);
/// Longest that a silent holder is watched; one with a longer Lease is believed.
const WATCHED: u64 = 20;
/// STS takes no token from a clock that is further off.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(15);
/// Times that another may be faster at taking it.
const TRIES: usize = 5;

/// How the Lease was met.
pub(crate) enum Locked {
    Held(Lock),
    /// Somebody else has it.
    By {
        path: String,
        holder: String,
        since: String,
    },
    /// The caller may not have one: the preconditions alone keep applies apart.
    Not(ClusterError),
}

/// A Lease that is ours until it is released.
pub(crate) struct Lock {
    leases: Leases,
    held: Arc<Mutex<Lease>>,
    lost: Arc<AtomicBool>,
    renewal: JoinHandle<()>,
}

/// Takes the Lease; `waits` is told once where a silent holder is watched.
pub(crate) async fn take(leases: Leases, holder: &str, mut waits: impl FnMut(&str)) -> Result<Locked, ClusterError> {
    let mut watched: Option<(Lease, Instant)> = None;
    let mut tries = 0;
    loop {
        let found = match leases.read().await {
            Ok(found) => found,
            Err(error @ ClusterError::Forbidden { .. }) => return Ok(Locked::Not(error)),
            Err(error) => return Err(error),
        };
        let now = Timestamp::now();
        let taken = match found {
            None => leases.create(holder, SECONDS, now).await,
            // A lost answer, and it was ours.
            Some(lease) if lease.holder == holder => Ok(lease),
            Some(lease) if lease.holder.is_empty() || is_long_past(&lease, now) => {
                leases.take(&lease, holder, SECONDS, now).await
            }
            Some(lease) => {
                let (first, since) = watched.get_or_insert_with(|| {
                    waits(&format!(
                        "the Lease {} is held by {}; looking whether it is renewed",
                        leases.path(),
                        lease.holder
                    ));
                    (lease.clone(), Instant::now())
                });
                let alive = first.renewed != lease.renewed || first.holder != lease.holder;
                if alive || lease.seconds > WATCHED {
                    let since = lease.acquired.clone().unwrap_or_else(|| "it does not say when".to_owned());
                    return Ok(Locked::By { path: leases.path(), holder: lease.holder, since });
                }
                if since.elapsed() < Duration::from_secs(lease.seconds) {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                leases.take(&lease, holder, SECONDS, now).await
            }
        };
        match taken {
            Ok(lease) => return Ok(Locked::Held(Lock::keep(leases, lease))),
            Err(error @ ClusterError::Forbidden { .. }) => return Ok(Locked::Not(error)),
            Err(ClusterError::Refused {
                refusal: Refusal::Conflict | Refusal::AlreadyExists | Refusal::NotFound,
                ..
            }) if tries < TRIES => {
                tries += 1;
                watched = None;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_long_past(lease: &Lease, now: Timestamp) -> bool {
    let renewed = lease.renewed.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let seconds = i64::try_from(lease.seconds).unwrap_or(i64::MAX);
    renewed.is_some_and(|at| {
        let silent = now.duration_since(at);
        silent.checked_sub(CLOCKS_DIFFER).is_some_and(|silent| silent.as_secs() > seconds)
    })
}

impl Lock {
    fn keep(leases: Leases, lease: Lease) -> Self {
        let held = Arc::new(Mutex::new(lease));
        let lost = Arc::new(AtomicBool::new(false));
        let renewal = tokio::spawn(renew(leases.clone(), held.clone(), lost.clone()));
        Self { leases, held, lost, renewal }
    }

    /// Whether somebody else may have it by now.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Gives it back, so that the next one need not wait.
    pub(crate) async fn release(self) -> Result<(), ClusterError> {
        // Not within a renewal: its answer would be missed, and with it the version.
        let held = self.held.lock().await;
        self.renewal.abort();
        if self.is_lost() {
            return Ok(());
        }
        match self.leases.release(&held, Timestamp::now()).await {
            // The answer to a renewal, or to this very request, was lost.
            Err(ClusterError::Refused { .. }) => match self.leases.read().await? {
                Some(lease) if lease.holder == held.holder => {
                    self.leases.release(&lease, Timestamp::now()).await.map(drop)
                }
                Some(_) | None => Ok(()),
            },
            end => end.map(drop),
        }
    }
}

async fn renew(leases: Leases, held: Arc<Mutex<Lease>>, lost: Arc<AtomicBool>) {
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(SECONDS) {
        tokio::time::sleep(RENEWAL).await;
        let mut held = held.lock().await;
        match leases.renew(&held, Timestamp::now()).await {
            Ok(lease) => {
                *held = lease;
                last = Instant::now();
            }
            Err(ClusterError::Refused { .. }) => match leases.read().await {
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
