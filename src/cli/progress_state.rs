//! What each cluster is doing, for the progress on stderr.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cluster::connection_log::ConnectionEvent;
use crate::cluster::settings::duration_text;
use crate::ops::{EventKind, LeaseState, OpsEvent, WorkPhase};
use crate::plan::format_duration;
use crate::render::text_util::{escape_control, pluralize};

/// The number of clusters that are shown. The others are counted.
const MAX_SHOWN: usize = 8;

/// The work of all clusters.
#[derive(Debug, Default)]
pub(super) struct ProgressState {
    clusters: BTreeMap<usize, ClusterProgress>,
    phase: Option<PhaseProgress>,
    has_several_clusters: bool,
    /// How many credential plugins can use the terminal.
    prompts: usize,
}

/// The work that a use case does with all of its clusters.
#[derive(Debug)]
struct PhaseProgress {
    phase: WorkPhase,
    total: usize,
    done: usize,
    since: Instant,
}

/// The work of one cluster.
#[derive(Debug)]
struct ClusterProgress {
    /// Foreign characters are escaped.
    name: String,
    activity: Option<(Activity, Instant)>,
    /// For each resource, how many objects were read and how many follow.
    listed: BTreeMap<&'static str, (usize, usize)>,
    waits: BTreeMap<u64, WaitProgress>,
    retry: Option<String>,
}

#[derive(Debug)]
struct WaitProgress {
    text: String,
    since: Instant,
    expected: Duration,
}

/// What a cluster is doing.
#[derive(Debug, Clone)]
enum Activity {
    Reading,
    Planning,
    WaitingForLease,
    DryRun { done: usize, total: usize },
    Writing { done: usize, total: usize },
    WaitingForTokens { until: Instant },
    Confirming { limit: Duration },
    Verifying { checks: usize },
}

/// One line of progress. Foreign characters are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProgressLine {
    /// `None` for all clusters together.
    pub(super) cluster: Option<usize>,
    pub(super) title: String,
    /// How much is done, and how much there is to do.
    pub(super) count: Option<(usize, usize)>,
    pub(super) message: String,
}

impl ProgressState {
    /// Records an event.
    pub(super) fn update(&mut self, event: &OpsEvent<'_>, now: Instant) {
        match &event.kind {
            EventKind::ClustersStarted { phase, total } => {
                self.has_several_clusters = *total > 1;
                self.phase = Some(PhaseProgress { phase: *phase, total: *total, done: 0, since: now });
            }
            EventKind::ClusterFinished => {
                if let Some(phase) = &mut self.phase {
                    phase.done += 1;
                }
            }
            EventKind::ClustersFinished => {
                self.phase = None;
                self.clusters.clear();
            }
            EventKind::Connection(ConnectionEvent::PromptStarted) => self.prompts += 1,
            EventKind::Connection(ConnectionEvent::PromptEnded) => self.prompts = self.prompts.saturating_sub(1),
            _ => {}
        }
        let Some(tag) = event.cluster else {
            return;
        };
        let name = escape_control(tag.name.as_ref().unwrap_or(&tag.label));
        let cluster = self.clusters.entry(tag.position).or_insert_with(|| ClusterProgress {
            name,
            activity: None,
            listed: BTreeMap::new(),
            waits: BTreeMap::new(),
            retry: None,
        });
        cluster.update(&event.kind, now);
    }

    /// Returns whether a credential plugin can use the terminal.
    pub(super) fn is_prompting(&self) -> bool {
        self.prompts > 0
    }

    /// Returns whether the current use case is for several clusters.
    pub(super) fn has_several_clusters(&self) -> bool {
        self.has_several_clusters
    }

    /// Returns whether there is work that has taken longer than `delay`.
    pub(super) fn is_shown_after(&self, delay: Duration, now: Instant) -> bool {
        self.phase_line(delay, now).is_some() || self.clusters.values().any(|cluster| cluster.is_shown(delay, now))
    }

    /// Returns the work that has taken longer than `delay`.
    pub(super) fn progress_lines(&self, delay: Duration, now: Instant) -> Vec<ProgressLine> {
        let shown: Vec<_> = self.clusters.iter().filter(|(_, cluster)| cluster.is_shown(delay, now)).collect();
        let clusters = shown.iter().take(MAX_SHOWN).map(|(position, cluster)| cluster.line(**position, now));
        let more = shown.len().saturating_sub(MAX_SHOWN);
        let mut lines: Vec<ProgressLine> = clusters.chain(self.phase_line(delay, now)).collect();
        if let Some(last) = lines.last_mut().filter(|_| more > 0) {
            last.message.push_str(&format!(", {more} more at work"));
        }
        lines
    }

    /// Returns the same as lines of a log.
    pub(super) fn lines(&self, delay: Duration, now: Instant) -> Vec<String> {
        let text = |line: ProgressLine| {
            let count = line.count.map(|(done, total)| format!("{done} of {total} ")).unwrap_or_default();
            format!("{}: {count}{}", line.title, line.message)
        };
        self.progress_lines(delay, now).into_iter().map(text).collect()
    }

    fn phase_line(&self, delay: Duration, now: Instant) -> Option<ProgressLine> {
        let phase = self.phase.as_ref().filter(|phase| phase.total > 1 && phase.done < phase.total)?;
        if now.saturating_duration_since(phase.since) < delay {
            return None;
        }
        let title = match phase.phase {
            WorkPhase::Observe => "Reading",
            WorkPhase::DryRun => "Dry run",
            WorkPhase::Prepare => "Checking",
            WorkPhase::Apply => "Applying",
        };
        let count = Some((phase.done, phase.total));
        Some(ProgressLine { cluster: None, title: title.to_owned(), count, message: "clusters done".to_owned() })
    }
}

impl ClusterProgress {
    fn update(&mut self, kind: &EventKind<'_>, now: Instant) {
        let activity = match kind {
            EventKind::ObservationStarted => {
                self.listed.clear();
                Some(Activity::Reading)
            }
            EventKind::PlanningStarted => Some(Activity::Planning),
            EventKind::DryRunProgress { checked, total } => Some(Activity::DryRun { done: *checked, total: *total }),
            EventKind::Lease(LeaseState::Waiting) => Some(Activity::WaitingForLease),
            EventKind::ApplyStarted { plan, .. } => Some(Activity::Writing { done: 0, total: plan.steps.len() }),
            EventKind::StepDone { number, total, .. } => Some(Activity::Writing { done: *number, total: *total }),
            EventKind::Waiting { left, .. } => Some(Activity::WaitingForTokens { until: now + *left }),
            EventKind::ConfirmationStarted { limit } => Some(Activity::Confirming { limit: *limit }),
            EventKind::VerificationStarted { checks } => Some(Activity::Verifying { checks: *checks }),
            EventKind::Connection(event) => return self.update_connection(event, now),
            EventKind::Note { .. } | EventKind::Diagnostics { .. } | EventKind::BackupWritten(_) => return,
            EventKind::RoleRewritten(_) | EventKind::WaitSkipped { .. } | EventKind::StepFailed { .. } => return,
            EventKind::ObservationFinished
            | EventKind::ObservationFailed(_)
            | EventKind::PlanningFinished { .. }
            | EventKind::PlanningFailed(_)
            | EventKind::DryRunFinished { .. }
            | EventKind::Lease(LeaseState::Acquired | LeaseState::Released)
            | EventKind::ConfirmationFinished
            | EventKind::Verified { .. }
            | EventKind::ApplyFinished { .. }
            | EventKind::ClustersStarted { .. }
            | EventKind::ClusterFinished
            | EventKind::ClustersFinished => None,
        };
        let is_same = |old: &Activity, new: &Activity| std::mem::discriminant(old) == std::mem::discriminant(new);
        self.activity = match (self.activity.take(), activity) {
            (Some((old, since)), Some(new)) if is_same(&old, &new) => Some((new, since)),
            (_, activity) => activity.map(|activity| (activity, now)),
        };
    }

    fn update_connection(&mut self, event: &ConnectionEvent<'_>, now: Instant) {
        match event {
            ConnectionEvent::WaitStarted { id, description, limit, expected } => {
                let text = format!("waiting for {} (at most {})", escape_control(description), duration_text(*limit));
                self.waits.insert(*id, WaitProgress { text, since: now, expected: *expected });
            }
            ConnectionEvent::WaitEnded { id } => {
                self.waits.remove(id);
                if self.waits.is_empty() {
                    self.retry = None;
                }
            }
            ConnectionEvent::RetryScheduled { operation, reason, delay } => {
                let (operation, reason) = (escape_control(operation), escape_control(reason));
                self.retry = Some(format!("trying again to {operation} in {}: {reason}", duration_text(*delay)));
            }
            ConnectionEvent::PageListed { resource, objects, remaining } => {
                self.listed.insert(resource, (*objects, *remaining));
            }
            ConnectionEvent::Ended { .. } | ConnectionEvent::PromptStarted | ConnectionEvent::PromptEnded => {}
        }
    }

    /// Returns the oldest wait that takes longer than expected.
    fn long_wait(&self, delay: Duration, now: Instant) -> Option<&WaitProgress> {
        let is_long = |wait: &&WaitProgress| now.saturating_duration_since(wait.since) >= wait.expected + delay;
        self.waits.values().find(is_long)
    }

    fn is_shown(&self, delay: Duration, now: Instant) -> bool {
        let is_long = |since: Instant| now.saturating_duration_since(since) >= delay;
        self.activity.as_ref().is_some_and(|(_, since)| is_long(*since)) || self.long_wait(delay, now).is_some()
    }

    fn line(&self, position: usize, now: Instant) -> ProgressLine {
        let (count, mut message) = match self.activity.as_ref().map(|(activity, _)| activity) {
            Some(Activity::Reading) => self.reading(),
            Some(Activity::Planning) => (None, "planning".to_owned()),
            Some(Activity::WaitingForLease) => (None, "waiting for the Lease of another apply".to_owned()),
            Some(Activity::DryRun { done, total }) => (Some((*done, *total)), "writes checked".to_owned()),
            Some(Activity::Writing { done, total }) => (Some((*done, *total)), "writes made".to_owned()),
            Some(Activity::WaitingForTokens { until }) => {
                let left = Duration::from_secs(until.saturating_duration_since(now).as_secs());
                (None, format!("waiting for cached tokens, {} left", format_duration(left)))
            }
            Some(Activity::Confirming { limit }) => {
                let limit = duration_text(*limit);
                (None, format!("confirming that you still have access after the change of aws-auth (at most {limit})"))
            }
            Some(Activity::Verifying { checks }) => (None, format!("verifying {}", pluralize(*checks, "access check"))),
            None => (None, String::new()),
        };
        let wait = self.long_wait(Duration::ZERO, now).map(|wait| wait.text.as_str());
        // The confirmation is a wait of its own.
        let wait = wait.filter(|_| !matches!(self.activity, Some((Activity::Confirming { .. }, _))));
        if wait.is_some() && count.is_none() && self.listed.is_empty() {
            // What it waits for says more.
            message.clear();
        }
        for text in wait.into_iter().chain(self.retry.as_deref()) {
            if !message.is_empty() {
                message.push_str(", ");
            }
            message.push_str(text);
        }
        ProgressLine { cluster: Some(position), title: self.name.clone(), count, message }
    }

    fn reading(&self) -> (Option<(usize, usize)>, String) {
        let objects: usize = self.listed.values().map(|(objects, _)| objects).sum();
        let remaining: usize = self.listed.values().map(|(_, remaining)| remaining).sum();
        match (objects, remaining) {
            (0, _) => (None, "reading the cluster".to_owned()),
            (objects, 0) => (None, format!("reading the cluster, {} so far", pluralize(objects, "object"))),
            (objects, remaining) => (Some((objects, objects + remaining)), "objects read".to_owned()),
        }
    }
}
