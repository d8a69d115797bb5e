//! The graph of the access to a cluster: principal → group, user or service account → binding → role.
//!
//! Objects that are connected in the same way become one node, so that a graph of thousands of principals can be read.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::MASTERS;
use crate::report::{
    AccessSeverityJson, ClusterReportJson, ObjectJson, ReportBindingJson, SubjectAccessJson, SubjectKindJson,
};

/// The number of nodes that a graph with a layout has at most. A larger one cannot be read, and takes long to lay out.
pub(crate) const MAX_LAYOUT_NODES: usize = 300;

/// What a node stands for. The nodes of a kind are in one column, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GraphColumn {
    /// IAM principals and AWS accounts.
    Principal,
    /// What bindings name: groups, users and service accounts.
    Subject,
    Binding,
    Role,
}

impl GraphColumn {
    pub(crate) const ALL: [Self; 4] = [Self::Principal, Self::Subject, Self::Binding, Self::Role];

    /// `principal`, without the ending of a plural.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Subject => "subject",
            Self::Binding => "binding",
            Self::Role => "role",
        }
    }

    /// The heading of the column.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Principal => "IAM principals",
            Self::Subject => "Groups, users, service accounts",
            Self::Binding => "Bindings",
            Self::Role => "Roles",
        }
    }
}

/// One or several objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphNode {
    pub(crate) column: GraphColumn,
    /// The short name that the objects have in common, or `None` if they have different names.
    name: Option<String>,
    /// The full names of the objects, sorted.
    pub(crate) objects: BTreeSet<String>,
    /// The severity of the worst escalation path of the objects.
    pub(crate) severity: Option<AccessSeverityJson>,
}

impl GraphNode {
    /// The name of the first object, without its kind, account and namespace.
    fn first_name(&self) -> &str {
        let first = self.objects.first().map(String::as_str).unwrap_or_default();
        first.rsplit([' ', '/', ':']).next().unwrap_or_default()
    }

    /// The text of the node, such as `developers` or `12 bindings (viewers, …)`.
    pub(crate) fn label(&self) -> String {
        match (&self.name, self.objects.len()) {
            (Some(name), 1) => name.clone(),
            (Some(name), number) if matches!(self.column, GraphColumn::Binding | GraphColumn::Role) => {
                format!("{name} ({number} namespaces)")
            }
            (_, number) => format!("{number} {}s ({}, …)", self.column.noun(), self.first_name()),
        }
    }
}

/// The nodes of a graph and its edges, as pairs of positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AccessGraph {
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) edges: BTreeSet<(usize, usize)>,
    /// The number of groups, users and service accounts that are left out with everything that only they are connected to.
    pub(crate) left_out: usize,
}

/// How a graph is made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GraphOptions<'a> {
    /// Only what this subject has: its name in the policy, or as in the report.
    pub(crate) subject: Option<&'a str>,
    /// Whether each object has its own node.
    pub(crate) full: bool,
    /// The maximum number of nodes.
    pub(crate) max_nodes: Option<usize>,
}

/// Adds nodes, each object once.
#[derive(Default)]
struct GraphBuilder {
    graph: AccessGraph,
    positions: BTreeMap<(GraphColumn, String), usize>,
}

impl GraphBuilder {
    fn node(&mut self, column: GraphColumn, name: &str, object: String, severity: Option<AccessSeverityJson>) -> usize {
        let Self { graph, positions } = self;
        let position = *positions.entry((column, object)).or_insert_with_key(|(_, object)| {
            let objects = BTreeSet::from([object.clone()]);
            graph.nodes.push(GraphNode { column, name: Some(name.to_owned()), objects, severity: None });
            graph.nodes.len() - 1
        });
        if let Some(node) = graph.nodes.get_mut(position) {
            node.severity = node.severity.max(severity);
        }
        position
    }

    fn subject(&mut self, subject: &str, severity: Option<AccessSeverityJson>) -> usize {
        let name = subject.split_once(':').map_or(subject, |(_, name)| name);
        self.node(GraphColumn::Subject, name, subject.to_owned(), severity)
    }

    fn object(&mut self, column: GraphColumn, object: &ObjectJson) -> usize {
        self.node(column, &object.name, format!("{} {}", object.kind_name(), object.path()), None)
    }

    fn row(&mut self, row: &SubjectAccessJson, bindings: &[ReportBindingJson], wanted: Option<&str>) {
        let severity = row.escalations.first().map(|path| path.severity);
        let mut targets: BTreeSet<usize> = BTreeSet::new();
        for grant in &row.grants {
            let Some(ReportBindingJson { binding, role, .. }) = bindings.get(grant.binding) else {
                continue;
            };
            let subject = self.subject(&grant.via, None);
            let binding = self.object(GraphColumn::Binding, binding);
            let role = self.object(GraphColumn::Role, role);
            self.graph.edges.extend([(subject, binding), (binding, role)]);
            targets.insert(subject);
        }
        if row.is_in_system_masters {
            targets.insert(self.subject(&format!("group:{MASTERS}"), Some(AccessSeverityJson::Critical)));
        }
        for subject in &row.subjects {
            let name = subject.principal_name.as_deref();
            if wanted.is_some_and(|wanted| wanted != subject.subject && Some(wanted) != name) {
                continue;
            }
            match subject.kind {
                SubjectKindJson::Principal | SubjectKindJson::Account if targets.is_empty() => {}
                SubjectKindJson::Principal | SubjectKindJson::Account => {
                    // `role/viewer` of the ARN.
                    let short = subject.subject.rsplit(':').next().unwrap_or(&subject.subject);
                    let object = subject.subject.clone();
                    let principal = self.node(GraphColumn::Principal, name.unwrap_or(short), object, severity);
                    self.graph.edges.extend(targets.iter().map(|target| (principal, *target)));
                }
                SubjectKindJson::Group | SubjectKindJson::User | SubjectKindJson::ServiceAccount => {
                    if !targets.is_empty() {
                        self.subject(&subject.subject, severity);
                    }
                }
            }
        }
    }
}

impl AccessGraph {
    pub(crate) fn new(report: &ClusterReportJson, options: GraphOptions<'_>) -> Self {
        let GraphOptions { subject: wanted, full, max_nodes } = options;
        let mut builder = GraphBuilder::default();
        for row in &report.access {
            let is_wanted = |wanted: &str| {
                let mut subjects = row.subjects.iter();
                subjects.any(|subject| subject.subject == wanted || subject.principal_name.as_deref() == Some(wanted))
            };
            if wanted.is_none_or(is_wanted) {
                builder.row(row, &report.bindings, wanted);
            }
        }
        let mut graph = builder.graph;
        if full {
            return graph;
        }
        graph.fold_namespaces();
        graph.fold_twins(GraphColumn::Principal);
        let is_too_large = |graph: &Self| max_nodes.is_some_and(|max| graph.nodes.len() > max);
        if is_too_large(&graph) {
            graph.fold_twins(GraphColumn::Binding);
            graph.fold_twins(GraphColumn::Role);
        }
        if is_too_large(&graph) {
            // Bindings of the same roles, then what they name, and then the principals that have these.
            graph.fold_by(GraphColumn::Binding, Self::targets_of);
            graph.fold_twins(GraphColumn::Role);
            graph.fold_by(GraphColumn::Subject, Self::targets_of);
            graph.fold_twins(GraphColumn::Principal);
        }
        if let Some(max) = max_nodes.filter(|_| is_too_large(&graph)) {
            graph.leave_out(max);
        }
        graph
    }

    fn targets_of(&self, node: usize) -> Vec<usize> {
        self.edges.range((node, 0)..=(node, usize::MAX)).map(|(_, to)| *to).collect()
    }

    /// Makes one node of the bindings of one name in several namespaces, if they bind the same role to the same subjects,
    /// and of the roles of one name.
    fn fold_namespaces(&mut self) {
        self.fold_by(GraphColumn::Role, |graph, node| {
            graph.nodes.get(node).map(|node| (node.name.clone(), is_namespaced(node)))
        });
        let sources = self.sources();
        self.fold_by(GraphColumn::Binding, |graph, node| {
            let name = graph.nodes.get(node).map(|node| (node.name.clone(), is_namespaced(node)));
            (name, graph.targets_of(node), sources.get(&node).cloned())
        });
    }

    /// Makes one node of the nodes that are connected to the same nodes.
    fn fold_twins(&mut self, column: GraphColumn) {
        let sources = self.sources();
        self.fold_by(column, |graph, node| (graph.targets_of(node), sources.get(&node).cloned()));
    }

    /// Returns for each node the nodes that lead to it.
    fn sources(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut sources: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in &self.edges {
            sources.entry(*to).or_default().push(*from);
        }
        sources
    }

    /// Makes one node of the nodes of a column that have the same key.
    fn fold_by<K: Ord>(&mut self, column: GraphColumn, key: impl Fn(&Self, usize) -> K) {
        let mut first_with_key: BTreeMap<K, usize> = BTreeMap::new();
        // For each node the position of the one that it becomes a part of.
        let mut folded_into: Vec<usize> = Vec::with_capacity(self.nodes.len());
        let mut kept: Vec<GraphNode> = Vec::new();
        for (position, node) in self.nodes.iter().enumerate() {
            let next = kept.len();
            let into =
                if node.column == column { *first_with_key.entry(key(self, position)).or_insert(next) } else { next };
            match kept.get_mut(into) {
                Some(first) => {
                    first.name = first.name.take().filter(|name| Some(name) == node.name.as_ref());
                    first.objects.extend(node.objects.iter().cloned());
                    first.severity = first.severity.max(node.severity);
                }
                None => kept.push(node.clone()),
            }
            folded_into.push(into);
        }
        self.renumber(kept, |position| folded_into.get(position).copied());
    }

    /// Keeps the subjects with the worst escalation paths, with all that they are connected to, up to a number of nodes.
    fn leave_out(&mut self, max: usize) {
        let sources = self.sources();
        let is_subject = |(_, node): &(usize, &GraphNode)| node.column == GraphColumn::Subject;
        let mut subjects: Vec<(usize, &GraphNode)> = self.nodes.iter().enumerate().filter(is_subject).collect();
        subjects.sort_by_key(|(position, node)| (std::cmp::Reverse(node.severity), *position));
        let mut shown: BTreeSet<usize> = BTreeSet::new();
        let mut left_out = 0;
        for (position, node) in subjects {
            let bindings = self.targets_of(position);
            let mut connected: BTreeSet<usize> =
                bindings.iter().flat_map(|binding| self.targets_of(*binding)).collect();
            connected.extend(bindings);
            connected.extend(sources.get(&position).into_iter().flatten());
            connected.insert(position);
            if shown.union(&connected).count() <= max {
                shown.extend(connected);
            } else {
                left_out += node.objects.len();
            }
        }
        let numbers: BTreeMap<usize, usize> = shown.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let kept = shown.iter().filter_map(|position| self.nodes.get(*position).cloned()).collect();
        self.left_out = left_out;
        self.renumber(kept, |position| numbers.get(&position).copied());
    }

    /// Replaces the nodes. `position` returns the new position of an old one, or `None` if it is left out.
    fn renumber(&mut self, nodes: Vec<GraphNode>, position: impl Fn(usize) -> Option<usize>) {
        self.nodes = nodes;
        let edges = self.edges.iter().filter_map(|(from, to)| Some((position(*from)?, position(*to)?)));
        self.edges = edges.collect();
    }
}

/// Returns whether the objects of a node have a namespace.
fn is_namespaced(node: &GraphNode) -> bool {
    node.objects.first().is_some_and(|object| object.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{ReportGrantJson, ReportSubjectJson};

    /// Principals, each with a group and a binding of its own, to one of some roles.
    fn report(principals: usize, roles: usize) -> ClusterReportJson {
        let object = |kind: &str, namespace: Option<&str>, name: String| -> ObjectJson {
            serde_json::from_value(serde_json::json!({ "kind": kind, "namespace": namespace, "name": name })).unwrap()
        };
        let binding = |number: usize| ReportBindingJson {
            binding: object("RoleBinding", Some("team"), format!("binding-{number}")),
            role: object("Role", Some("team"), format!("role-{}", number % roles)),
            role_exists: true,
            managed_by: None,
        };
        let row = |number: usize| SubjectAccessJson {
            subjects: vec![ReportSubjectJson {
                subject: format!("arn:aws:iam::111122223333:role/r{number}"),
                principal_name: (number == 0).then(|| "first".to_owned()),
                kind: SubjectKindJson::Principal,
                identities: Vec::new(),
            }],
            is_in_system_masters: false,
            grants: vec![ReportGrantJson { binding: number, via: format!("group:g{number}") }],
            escalations: Vec::new(),
        };
        ClusterReportJson {
            cluster: "prod".to_owned(),
            name: None,
            namespaces: vec!["team".to_owned()],
            bindings: (0..principals).map(binding).collect(),
            access: (0..principals).map(row).collect(),
            hidden_subjects: 0,
            sensitive: Vec::new(),
            expiries: Vec::new(),
            drift: None,
            warnings: Vec::new(),
        }
    }

    fn graph(principals: usize, roles: usize, max: usize) -> AccessGraph {
        let graph = AccessGraph::new(
            &report(principals, roles),
            GraphOptions { max_nodes: Some(max), ..GraphOptions::default() },
        );
        assert!(graph.nodes.len() <= max, "{} nodes", graph.nodes.len());
        assert!(graph.edges.iter().all(|(from, to)| *from < graph.nodes.len() && *to < graph.nodes.len()));
        for (from, to) in &graph.edges {
            assert!(graph.nodes[*from].column < graph.nodes[*to].column, "an edge leads to the right");
        }
        graph
    }

    fn objects(graph: &AccessGraph, column: GraphColumn) -> usize {
        graph.nodes.iter().filter(|node| node.column == column).map(|node| node.objects.len()).sum()
    }

    #[test]
    fn each_object_is_in_one_node_of_a_folded_graph() {
        for (principals, roles, max) in [(3, 2, 100), (60, 3, 100), (500, 20, 100)] {
            let graph = graph(principals, roles, max);
            assert_eq!(graph.left_out, 0);
            let counts = GraphColumn::ALL.map(|column| objects(&graph, column));
            assert_eq!(counts, [principals, principals, principals, roles.min(principals)]);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_counted() {
        let graph = graph(60, 60, 30);
        assert_eq!(graph.left_out + objects(&graph, GraphColumn::Subject), 60);
        assert_eq!(graph.nodes.len(), 28, "seven principals with a group, a binding and a role");
    }

    #[test]
    fn graph_of_one_subject_has_only_what_it_is_connected_to() {
        let options = GraphOptions { subject: Some("first"), ..GraphOptions::default() };
        let graph = AccessGraph::new(&report(10, 2), options);
        let labels: Vec<String> = graph.nodes.iter().map(GraphNode::label).collect();
        assert_eq!(labels, ["g0", "binding-0", "role-0", "first"]);
    }
}
