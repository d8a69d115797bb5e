//! The page of `report`, made from its document. What has at most some hundred lines is in the page itself. The script makes
//! the matrix from the data, a page of it at a time, so that thousands of principals do not freeze the browser.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::access_graph::{AccessGraph, GraphOptions, MAX_LAYOUT_NODES};
use super::graph_svg::graph_image;
use super::html_parts::{error_banner, folded, severity_html, subject_html, table, table_of};
use super::html_shell::{HtmlShell, section, subsection};
use super::page_html::PageHtml;
use super::plan_facts::is_outside;
use crate::report::{
    AccessReportDocument, ClusterReportJson, DriftReportJson, EscalationJson, ExpiryJson, GrantLimitJson,
    ReportBindingJson, SensitiveAccessJson, SensitiveHoldersJson, SerializeError, SubjectAccessJson, SubjectJson,
    SubjectKindJson, to_value,
};

/// The number of rows up to which the answer to a sensitive request is unfolded.
const MAX_OPEN_HOLDERS: usize = 4;
/// The number of differences from the policy that the page lists. `drift` lists all.
const MAX_DRIFT: usize = 500;
/// The number of days before an expiry from which it is marked.
const SOON_DAYS: u64 = 14;

/// The part of the document that the script needs.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PageData<'a> {
    has_policy: bool,
    clusters: Vec<MatrixData<'a>>,
}

#[derive(Serialize)]
struct MatrixData<'a> {
    namespaces: &'a [String],
    bindings: &'a [ReportBindingJson],
    access: &'a [SubjectAccessJson],
}

/// Returns the page.
///
/// # Errors
/// If serde cannot serialize the data.
pub(crate) fn render_report_html(document: &AccessReportDocument) -> Result<PageHtml, SerializeError> {
    let AccessReportDocument { created_at, policy, is_planned, clusters, errors, .. } = document;
    let matrices = clusters.iter().map(|ClusterReportJson { namespaces, bindings, access, .. }| MatrixData {
        namespaces,
        bindings,
        access,
    });
    let data = to_value(&PageData { has_policy: policy.is_some(), clusters: matrices.collect() })?;
    let policy_text = match policy {
        Some(policy) => PageHtml::template("Policy {}, ", [PageHtml::code(policy)]),
        None => PageHtml::markup("Without a policy, "),
    };
    let state = PageHtml::markup(if *is_planned { "the planned state, " } else { "" });
    let header = PageHtml::template(
        "<h1>Access to {}</h1>\n<p class=\"subtitle\">{}{}<time datetime=\"{}\">{}</time></p>\n",
        [
            match clusters.as_slice() {
                [cluster] => PageHtml::text(&cluster.cluster),
                clusters => PageHtml::count(clusters.len(), "cluster"),
            },
            policy_text,
            state,
            PageHtml::text(created_at),
            PageHtml::text(&readable_time(created_at)),
        ],
    );
    let mut navigation = Vec::new();
    let mut main = error_banner(errors);
    for (number, cluster) in clusters.iter().enumerate() {
        let page = ClusterPage { number, cluster, is_only: clusters.len() == 1 };
        page.render(&mut main, &mut navigation);
    }
    let footer = PageHtml::markup("<p>Made by rolecall. This page loads nothing and sends nothing.</p>\n");
    let title = PageHtml::template(
        "Access report{}",
        [policy.as_ref().map(|policy| PageHtml::template(": {}", [PageHtml::text(policy)])).unwrap_or_default()],
    );
    Ok(HtmlShell { title, header, navigation, main, footer, data: Some(PageHtml::json(data)) }.render())
}

/// `2026-11-27 03:40 UTC` of a time in RFC 3339.
fn readable_time(time: &str) -> String {
    match time.split_once('T') {
        Some((date, clock)) if time.ends_with('Z') => {
            let minutes: Vec<&str> = clock.split(':').take(2).collect();
            format!("{date} {} UTC", minutes.join(":"))
        }
        _ => time.to_owned(),
    }
}

/// The part of the page for one cluster.
struct ClusterPage<'a> {
    number: usize,
    cluster: &'a ClusterReportJson,
    is_only: bool,
}

impl ClusterPage<'_> {
    /// Adds the parts, and their places to the navigation.
    fn render(&self, main: &mut PageHtml, navigation: &mut Vec<(PageHtml, PageHtml)>) {
        if !self.is_only {
            let id = self.id("cluster");
            navigation.push((PageHtml::text(self.cluster.name.as_ref().unwrap_or(&self.cluster.cluster)), id.clone()));
            main.push(&PageHtml::template("<h2 id=\"{}\">{}</h2>\n", [id, PageHtml::text(&self.cluster.cluster)]));
        }
        main.push(&self.cards());
        let parts = [
            ("access", "Access", Some(self.matrix())),
            ("escalations", "Escalation paths", Some(self.escalations())),
            ("sensitive", "Sensitive requests", Some(self.sensitive())),
            ("expiries", "Expiry", self.expiries()),
            ("drift", "Differences from the policy", self.drift()),
            ("graph", "Graph", Some(self.graph())),
            ("warnings", "Warnings", self.warnings()),
        ];
        for (name, heading, content) in parts {
            if let Some(content) = content {
                let id = self.id(name);
                let heading = PageHtml::markup(heading);
                if self.is_only {
                    navigation.push((heading.clone(), id.clone()));
                    main.push(&section(id, heading, content));
                } else {
                    main.push(&subsection(self.id("cluster"), id, heading, content));
                }
            }
        }
    }

    fn id(&self, name: &'static str) -> PageHtml {
        PageHtml::template("{}-{}", [PageHtml::markup(name), PageHtml::digits(self.number)])
    }

    fn cards(&self) -> PageHtml {
        let ClusterReportJson { access, namespaces, drift, .. } = self.cluster;
        let subjects = |is_counted: fn(&SubjectAccessJson) -> bool| -> usize {
            access.iter().filter(|row| is_counted(row)).map(|row| row.subjects.len()).sum()
        };
        let principals = |row: &SubjectAccessJson| {
            row.subjects.iter().filter(|subject| subject.kind == SubjectKindJson::Principal).count()
        };
        let card = |value: usize, noun: &'static str| {
            PageHtml::template(
                "<li><span class=\"value\">{}</span> {}</li>\n",
                [PageHtml::number(value), PageHtml::markup(noun)],
            )
        };
        let mut cards = vec![
            card(access.iter().map(principals).sum(), "IAM principals"),
            card(namespaces.len(), "namespaces"),
            card(subjects(|row| row.is_in_system_masters), "in system:masters"),
            card(subjects(|row| !row.escalations.is_empty()), "with an escalation path"),
        ];
        cards.extend(drift.as_ref().map(|drift| card(drift.changes.len(), "differences from the policy")));
        PageHtml::template("<ul class=\"cards\">\n{}</ul>\n", [PageHtml::concat(cards)])
    }

    fn matrix(&self) -> PageHtml {
        let kinds = [
            ("principal", SubjectKindJson::Principal),
            ("account", SubjectKindJson::Account),
            ("group", SubjectKindJson::Group),
            ("user", SubjectKindJson::User),
            ("service-account", SubjectKindJson::ServiceAccount),
        ];
        let options = kinds.map(|(value, kind)| {
            PageHtml::template(
                "<option value=\"{}\">{}</option>\n",
                [PageHtml::markup(value), PageHtml::markup(kind.label())],
            )
        });
        let hidden = match self.cluster.hidden_subjects {
            0 => PageHtml::default(),
            hidden => PageHtml::template(
                " {} of Kubernetes and EKS itself left out; <code>--full</code> lists them.",
                [PageHtml::count(hidden, "subject")],
            ),
        };
        PageHtml::template(
            concat!(
                "<noscript><p>The matrix needs the script of this page, which loads nothing. ",
                "<code>rolecall report -o csv</code> has the same content.</p></noscript>\n",
                "<div class=\"matrix\" data-matrix=\"{}\" hidden>\n",
                "<form class=\"filters\" role=\"search\" aria-label=\"Filter of the access to {}\">\n",
                "<label>Subject, group or role <input type=\"search\" data-filter=\"text\" autocomplete=\"off\"></label>\n",
                "<label>Namespace <input type=\"search\" data-filter=\"namespace\" autocomplete=\"off\"></label>\n",
                "<label>Kind <select data-filter=\"kind\"><option value=\"\">all</option>\n{}</select></label>\n",
                "<label class=\"check\"><input type=\"checkbox\" data-filter=\"escalation\"> Only with an escalation path</label>\n",
                "</form>\n<p class=\"hint\">Unfold a subject to see how it logs in and which bindings it has. Access that everyone ",
                "has by default is only in the rows of the groups that have it.{}</p>\n",
                "<p class=\"status\" role=\"status\" data-part=\"status\"></p>\n",
                "<div class=\"pager\">\n",
                "<button type=\"button\" data-move=\"rows-previous\">Previous subjects</button>\n",
                "<button type=\"button\" data-move=\"rows-next\">Next subjects</button>\n",
                "<button type=\"button\" data-move=\"columns-previous\">Previous namespaces</button>\n",
                "<button type=\"button\" data-move=\"columns-next\">Next namespaces</button>\n</div>\n",
                "<div class=\"scroll\" role=\"region\" aria-label=\"Roles of each subject in {}\" tabindex=\"0\">\n<table>\n",
                "<caption>Roles in the whole cluster and in each namespace</caption>\n",
                "<thead data-part=\"head\"></thead>\n<tbody data-part=\"body\"></tbody>\n</table>\n</div>\n</div>\n",
            ),
            [
                PageHtml::digits(self.number),
                PageHtml::text(&self.cluster.cluster),
                PageHtml::concat(options),
                hidden,
                PageHtml::text(&self.cluster.cluster),
            ],
        )
    }

    fn escalations(&self) -> PageHtml {
        let rows = self.cluster.access.iter().filter(|row| !row.escalations.is_empty()).map(|row| {
            let names: Vec<PageHtml> = row
                .subjects
                .iter()
                .map(|subject| subject_html(&subject.subject, subject.principal_name.as_deref()))
                .collect();
            let paths = row.escalations.iter().map(|EscalationJson { name, path, .. }| {
                PageHtml::template("<li><code>{}</code>: {}</li>\n", [PageHtml::text(name), PageHtml::text(path)])
            });
            let worst = row.escalations.first().map(|path| severity_html(path.severity.name()));
            PageHtml::template(
                "<tr><td>{}</td><th scope=\"row\">{}</th><td><ul class=\"gains\">\n{}</ul></td></tr>\n",
                [worst.unwrap_or_default(), folded(names), PageHtml::concat(paths)],
            )
        });
        let rows: Vec<PageHtml> = rows.collect();
        if rows.is_empty() {
            return PageHtml::markup("<p>No subject has a known privilege escalation path.</p>\n");
        }
        table(
            "Subjects that can get more access than they were given, the most severe first.",
            &["Severity", "Subjects", "Paths"],
            rows,
        )
    }

    fn sensitive(&self) -> PageHtml {
        let is_master = |holders: &&SensitiveHoldersJson| holders.is_in_system_masters;
        let holders = self.cluster.sensitive.iter().flat_map(|answer| &answer.holders);
        // They can make all requests, so they are listed once.
        let masters: BTreeMap<&str, &SubjectJson> = holders
            .filter(is_master)
            .flat_map(|holders| &holders.subjects)
            .map(|subject| (subject.subject.as_str(), subject))
            .collect();
        let masters = if masters.is_empty() {
            PageHtml::default()
        } else {
            PageHtml::template(
                "<p>In system:masters, and so not limited in any of them: {}</p>\n",
                [folded(masters.into_values().map(named_subject).collect())],
            )
        };
        let (mut requests, mut unused) = (Vec::new(), Vec::new());
        for SensitiveAccessJson { request, holders } in &self.cluster.sensitive {
            let holders: Vec<&SensitiveHoldersJson> = holders.iter().filter(|holders| !is_master(holders)).collect();
            if holders.is_empty() {
                unused.push(PageHtml::code(request));
                continue;
            }
            let number: usize = holders.iter().map(|holders| holders.subjects.len()).sum();
            let unlimited = holders.iter().filter(|holders| holders.limits.is_empty());
            let unlimited: usize = unlimited.map(|holders| holders.subjects.len()).sum();
            let rows = holders.iter().map(|holders| holders_row(holders)).collect();
            requests.push(PageHtml::template(
                "<details{}><summary><code>{}</code>: {}, {} without a limit</summary>\n{}</details>\n",
                [
                    PageHtml::markup(if holders.len() <= MAX_OPEN_HOLDERS { " open" } else { "" }),
                    PageHtml::text(request),
                    PageHtml::count(number, "subject"),
                    PageHtml::number(unlimited),
                    table_of(&PageHtml::text(request), &["Subjects", "Limited to"], rows),
                ],
            ));
        }
        let unused = match unused.len() {
            0 => PageHtml::default(),
            _ => PageHtml::template("<p>No other subject can: {}</p>\n", [PageHtml::join(unused, ", ")]),
        };
        PageHtml::template(
            "<p class=\"hint\">Who can make the requests that lead to other access.</p>\n{}<div class=\"requests\">\n{}</div>\n{}",
            [masters, PageHtml::concat(requests), unused],
        )
    }

    fn expiries(&self) -> Option<PageHtml> {
        let expiries = &self.cluster.expiries;
        if expiries.is_empty() {
            return None;
        }
        let rows = expiries.iter().map(|expiry| {
            let ExpiryJson { section, name, expires, at, has_expired, days_left, location } = expiry;
            let left = if *has_expired {
                PageHtml::markup("<span class=\"severity high\">expired</span>")
            } else if *days_left <= SOON_DAYS {
                let days = PageHtml::count(usize::try_from(*days_left).unwrap_or(usize::MAX), "day");
                PageHtml::template("<span class=\"severity medium\">{}</span>", [days])
            } else {
                PageHtml::count(usize::try_from(*days_left).unwrap_or(usize::MAX), "day")
            };
            PageHtml::template(
                "<tr><th scope=\"row\"><code>{}.{}</code></th><td><time datetime=\"{}\">{}</time></td><td>{}</td><td><code>{}:{}</code></td></tr>\n",
                [
                    PageHtml::text(section),
                    PageHtml::text(name),
                    PageHtml::text(at),
                    PageHtml::text(expires),
                    left,
                    PageHtml::text(&location.file),
                    PageHtml::digits(location.line),
                ],
            )
        });
        let rows = rows.collect();
        Some(table(
            "What the policy gives for a limited time, the earliest first.",
            &["Name", "Expires", "Left", "Policy"],
            rows,
        ))
    }

    fn drift(&self) -> Option<PageHtml> {
        let DriftReportJson { changes, failed_invariants } = self.cluster.drift.as_ref()?;
        let mut out = PageHtml::default();
        for failed in failed_invariants {
            let name = failed.description.as_ref().unwrap_or(&failed.invariant);
            out.push(&PageHtml::template(
                "<p><span class=\"severity critical\">invariant violated</span> {} (<code>{}:{}</code>)</p>\n",
                [PageHtml::text(name), PageHtml::text(&failed.location.file), PageHtml::digits(failed.location.line)],
            ));
        }
        if changes.is_empty() {
            out.push(&PageHtml::markup("<p>The cluster matches the policy.</p>\n"));
            return Some(out);
        }
        let rows = changes.iter().take(MAX_DRIFT).map(|change| {
            let origin = if is_outside(change) { "changed outside of rolecall" } else { "not yet applied" };
            let writer = change.last_writer.as_ref().map(|writer| {
                PageHtml::template("{}, {}", [PageHtml::text(&writer.manager), PageHtml::text(&writer.time)])
            });
            PageHtml::template(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                [
                    PageHtml::code(&change.target_text()),
                    PageHtml::markup(change.action.name()),
                    PageHtml::markup(origin),
                    writer.unwrap_or_default(),
                ],
            )
        });
        out.push(&table(
            "What apply would change to make the cluster match the policy.",
            &["Object", "Action", "Why", "Last writer"],
            rows.collect(),
        ));
        if let Some(more) = changes.len().checked_sub(MAX_DRIFT).filter(|more| *more > 0) {
            out.push(&PageHtml::template(
                "<p>… and {}; <code>rolecall drift</code> lists them.</p>\n",
                [PageHtml::count(more, "more difference")],
            ));
        }
        Some(out)
    }

    fn graph(&self) -> PageHtml {
        let options = GraphOptions { max_nodes: Some(MAX_LAYOUT_NODES), ..GraphOptions::default() };
        let graph = AccessGraph::new(self.cluster, options);
        if graph.nodes.is_empty() {
            return PageHtml::markup("<p>No subject has a role.</p>\n");
        }
        let id = self.id("graph-image");
        let title = PageHtml::template(
            "Graph of the access to {}: which principals have which groups, bindings and roles",
            [PageHtml::text(&self.cluster.cluster)],
        );
        let left_out = match graph.left_out {
            0 => PageHtml::default(),
            number => PageHtml::template(
                " {} with less dangerous access left out; <code>rolecall graph SUBJECT</code> shows one of them.",
                [PageHtml::count(number, "subject")],
            ),
        };
        PageHtml::template(
            concat!(
                "<p class=\"hint\">Objects that are connected in the same way are one node, and a node of several objects is ",
                "connected if one of them is.{} The table above has the same access as text.</p>\n",
                "<form class=\"filters\" role=\"search\" aria-label=\"Filter of the graph of {}\" data-needs-script hidden>\n",
                "<label>Highlight <input type=\"search\" data-graph=\"{}\" data-status=\"{}-status\" autocomplete=\"off\"></label>\n",
                "</form>\n<p class=\"status\" role=\"status\" id=\"{}-status\"></p>\n",
                "<div class=\"graph-box\" role=\"region\" aria-label=\"Graph of {}\" tabindex=\"0\">\n{}\n</div>\n",
            ),
            [
                left_out,
                PageHtml::text(&self.cluster.cluster),
                id.clone(),
                id.clone(),
                id.clone(),
                PageHtml::text(&self.cluster.cluster),
                graph_image(&graph, &title, &id, &PageHtml::default()),
            ],
        )
    }

    fn warnings(&self) -> Option<PageHtml> {
        let warnings = &self.cluster.warnings;
        if warnings.is_empty() {
            return None;
        }
        let items =
            warnings.iter().map(|warning| PageHtml::template("<li>{}</li>\n", [PageHtml::message(&warning.message)]));
        Some(PageHtml::template("<ul>\n{}</ul>\n", [PageHtml::concat(items)]))
    }
}

fn named_subject(SubjectJson { subject, principal_name }: &SubjectJson) -> PageHtml {
    subject_html(subject, principal_name.as_deref())
}

fn holders_row(SensitiveHoldersJson { subjects, limits, is_in_system_masters: _ }: &SensitiveHoldersJson) -> PageHtml {
    let limits: BTreeSet<String> = limits.iter().map(limit_text).collect();
    let limits = if limits.is_empty() {
        PageHtml::markup("not limited")
    } else {
        folded(limits.iter().map(|limit| PageHtml::text(limit)).collect())
    };
    PageHtml::template(
        "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
        [folded(subjects.iter().map(named_subject).collect()), limits],
    )
}

/// `team-a, names db, cache`.
fn limit_text(limit: &GrantLimitJson) -> String {
    let GrantLimitJson { resource_names, namespace, by_server_side_apply_only } = limit;
    let mut parts: Vec<String> = namespace.iter().cloned().collect();
    if !resource_names.is_empty() {
        parts.push(format!("only {}", resource_names.join(", ")));
    }
    if *by_server_side_apply_only {
        parts.push("by server-side apply".to_owned());
    }
    parts.join(", ")
}
