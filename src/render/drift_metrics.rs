//! The metrics of `drift --metrics`: a file in the text format of Prometheus, which the textfile collector of the node
//! exporter reads.
//!
//! The file is also the memory of a run that fails: the values of clusters that could not be compared are kept as they are,
//! so that the time of their last success gets older.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::diagnostic::{InternalError, escape_text};
use crate::report::{ChangeJson, DriftJson, PlanJson, TargetJson};

const CLUSTER: &str = "cluster";
const KIND: &str = "kind";
const ORIGIN: &str = "origin";
/// The kinds that a policy can change. Each has a value, also 0, so that an alert ends when the drift does.
const KINDS: [&str; 5] = ["aws-auth", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
const ORIGINS: [&str; 3] = ["not-applied", "changed-in-cluster", "deleted-in-cluster"];

/// The metrics, in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DriftMetric {
    Objects,
    UnmanagedAdmins,
    InvariantsViolated,
    LastSuccess,
    LastRun,
    LastRunSuccess,
    Duration,
}

impl DriftMetric {
    const ALL: [Self; 7] = [
        Self::Objects,
        Self::UnmanagedAdmins,
        Self::InvariantsViolated,
        Self::LastSuccess,
        Self::LastRun,
        Self::LastRunSuccess,
        Self::Duration,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Objects => "rolecall_drift_objects",
            Self::UnmanagedAdmins => "rolecall_unmanaged_admins",
            Self::InvariantsViolated => "rolecall_invariants_violated",
            Self::LastSuccess => "rolecall_drift_last_success_timestamp_seconds",
            Self::LastRun => "rolecall_drift_last_run_timestamp_seconds",
            Self::LastRunSuccess => "rolecall_drift_last_run_success",
            Self::Duration => "rolecall_drift_duration_seconds",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Objects => {
                "Objects and aws-auth entries that differ from the policy: not applied yet, or changed or deleted in the \
                 cluster"
            }
            Self::UnmanagedAdmins => "Subjects with full access to the cluster that no policy manages",
            Self::InvariantsViolated => "Invariants of the policy that the cluster violates",
            Self::LastSuccess => "When the cluster was last compared with the policy",
            Self::LastRun => "When rolecall drift last ended",
            Self::LastRunSuccess => "Whether the last run compared all of its clusters",
            Self::Duration => "How long the last run took",
        }
    }
}

/// Names and values of labels, in their order.
type MetricLabels = Vec<(String, String)>;

/// The content of a metrics file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DriftMetrics(BTreeMap<DriftMetric, BTreeMap<MetricLabels, f64>>);

/// What a run of `drift` has found.
pub(crate) struct DriftRun<'a> {
    /// The clusters that were compared.
    pub(crate) plans: &'a [PlanJson],
    /// The clusters of the policy. `None` if they are not known, because the policy could not be read.
    pub(crate) known: Option<BTreeSet<String>>,
    /// Whether all clusters were compared.
    pub(crate) is_success: bool,
    pub(crate) finished: Timestamp,
    pub(crate) duration: std::time::Duration,
}

/// Why a metrics file cannot be read: the number of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetricsSyntaxError {
    pub(crate) line: usize,
}

impl DriftMetrics {
    /// Reads a file that [`Self::render`] wrote. Metrics of other names are left out.
    pub(crate) fn parse(text: &str) -> Result<Self, MetricsSyntaxError> {
        let mut metrics = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let (name, labels, value) = parse_sample(line).ok_or(MetricsSyntaxError { line: number + 1 })?;
            if let Some(metric) = DriftMetric::ALL.into_iter().find(|metric| metric.name() == name) {
                metrics.set(metric, labels, value);
            }
        }
        Ok(metrics)
    }

    /// Adds the values of a run. Clusters that were not compared keep theirs, unless the policy no longer has them.
    pub(crate) fn update(&mut self, run: &DriftRun<'_>) {
        let compared: BTreeSet<String> = run.plans.iter().map(cluster_label).collect();
        let is_kept = |cluster: &str| {
            !compared.contains(cluster) && run.known.as_ref().is_none_or(|known| known.contains(cluster))
        };
        for samples in self.0.values_mut() {
            samples.retain(|labels, _| labels.iter().all(|(name, value)| name != CLUSTER || is_kept(value)));
        }
        let finished = run.finished.as_duration().as_secs_f64().floor();
        for plan in run.plans {
            let cluster = cluster_label(plan);
            for (kind, origin) in KINDS.iter().flat_map(|kind| ORIGINS.iter().map(move |origin| (*kind, *origin))) {
                self.set(DriftMetric::Objects, object_labels(&cluster, kind, origin), 0.0);
            }
            for change in &plan.changes {
                let labels = object_labels(&cluster, kind_of(change), origin_of(change));
                *self.0.entry(DriftMetric::Objects).or_default().entry(labels).or_default() += 1.0;
            }
            let labels = || vec![(CLUSTER.to_owned(), cluster.clone())];
            if let Some(admins) = &plan.unmanaged_admins {
                self.set(DriftMetric::UnmanagedAdmins, labels(), to_float(admins.len()));
            }
            self.set(DriftMetric::InvariantsViolated, labels(), to_float(plan.failed_invariants.len()));
            self.set(DriftMetric::LastSuccess, labels(), finished);
        }
        self.set(DriftMetric::LastRun, Vec::new(), finished);
        self.set(DriftMetric::LastRunSuccess, Vec::new(), if run.is_success { 1.0 } else { 0.0 });
        self.set(DriftMetric::Duration, Vec::new(), run.duration.as_secs_f64());
    }

    fn set(&mut self, metric: DriftMetric, labels: MetricLabels, value: f64) {
        self.0.entry(metric).or_default().insert(labels, value);
    }

    /// Returns the file.
    ///
    /// # Errors
    /// If the library cannot write it, which is a bug.
    pub(crate) fn render(self) -> Result<String, InternalError> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|error| InternalError::new(format!("cannot write metrics: {error}")))?;
        Ok(text)
    }
}

impl Collector for DriftMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (metric, samples) in &self.0 {
            let help = format!("{}.", metric.help());
            let mut family = encoder.encode_descriptor(metric.name(), &help, None, MetricType::Gauge)?;
            for (labels, value) in samples {
                let gauge = ConstGauge::new(*value);
                // A metric without labels has no braces.
                if labels.is_empty() {
                    gauge.encode(family)?;
                    break;
                }
                gauge.encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

/// The value of the label: the name of the cluster in the policy, or how rolecall connects to it.
fn cluster_label(plan: &PlanJson) -> String {
    escape_text(plan.id_scope())
}

fn object_labels(cluster: &str, kind: &str, origin: &str) -> MetricLabels {
    [(CLUSTER, cluster), (KIND, kind), (ORIGIN, origin)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn kind_of(change: &ChangeJson) -> &'static str {
    match &change.target {
        TargetJson::Entry(_) => "aws-auth",
        TargetJson::Object(object) => object.kind_name(),
    }
}

fn origin_of(change: &ChangeJson) -> &'static str {
    match change.drift {
        DriftJson::None => "not-applied",
        DriftJson::ChangedInCluster => "changed-in-cluster",
        DriftJson::DeletedInCluster => "deleted-in-cluster",
    }
}

fn to_float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Parses a line such as `name{cluster="prod"} 1.0`.
fn parse_sample(line: &str) -> Option<(&str, MetricLabels, f64)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = line.find(|c| !is_name(c)).filter(|end| *end > 0)?;
    let (name, rest) = line.split_at(end);
    let (labels, value) = match rest.strip_prefix('{') {
        None => (Vec::new(), rest),
        Some(rest) => parse_labels(rest)?,
    };
    let value: f64 = value.strip_prefix(' ')?.trim_end().parse().ok()?;
    value.is_finite().then_some((name, labels, value))
}

/// Parses `a="b",c="d"}` and returns what follows it.
fn parse_labels(text: &str) -> Option<(MetricLabels, &str)> {
    let (mut labels, mut rest) = (Vec::new(), text);
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (end, '"') => break end + 1,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                (_, c) => value.push(c),
            }
        };
        labels.push((name.to_owned(), value));
        rest = after.get(end..)?;
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}
