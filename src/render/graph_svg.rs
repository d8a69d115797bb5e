//! The graph of access as an SVG image, alone or as a part of a page.

use super::access_graph::{AccessGraph, GraphColumn, GraphNode};
use super::graph_layout::{GraphLayout, NODE_HEIGHT, NODE_WIDTH, TOP, column_left};
use super::page_html::PageHtml;
use crate::report::AccessSeverityJson;

/// The style of the nodes and edges, for an image alone. A page has the same style.
const STYLE: &str = include_str!("page/graph.css");
/// The number of characters that fit into a node.
const MAX_LABEL: usize = 26;
/// The number of objects that the description of a node lists.
const MAX_LISTED: usize = 40;

/// Returns the graph as an image with its own style. `title` says what it shows.
pub(crate) fn render_graph_svg(graph: &AccessGraph, title: &str) -> PageHtml {
    let style = PageHtml::template(
        "<style>{}</style>\n<rect class=\"background\" width=\"100%\" height=\"100%\"/>\n",
        [PageHtml::markup(STYLE)],
    );
    let mut out = graph_image(graph, &PageHtml::text(title), &PageHtml::markup("graph"), &style);
    out.push(&PageHtml::markup("\n"));
    out
}

/// Returns the graph as an element of a page. The ids of its elements begin with `id`.
pub(super) fn graph_image(graph: &AccessGraph, title: &PageHtml, id: &PageHtml, style: &PageHtml) -> PageHtml {
    let layout = GraphLayout::new(graph);
    let edges = graph.edges.iter().map(|(from, to)| {
        let [from_at, to_at] = [from, to].map(|node| layout.positions.get(*node).copied().unwrap_or_default());
        edge(*from, *to, from_at, to_at)
    });
    let nodes = graph.nodes.iter().zip(&layout.positions).enumerate();
    let nodes = nodes.map(|(number, (graph_node, position))| node(number, graph_node, *position));
    let headings = GraphColumn::ALL.map(|column| {
        PageHtml::template(
            "<text class=\"column\" x=\"{}\" y=\"{}\">{}</text>\n",
            [PageHtml::length(column_left(column)), PageHtml::length(TOP - 14.0), PageHtml::markup(column.heading())],
        )
    });
    PageHtml::template(
        concat!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" id=\"{}\" role=\"img\" ",
            "aria-labelledby=\"{}-title\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\">\n",
            "<title id=\"{}-title\">{}</title>\n{}{}<g class=\"edges\">\n{}</g>\n<g class=\"nodes\">\n{}</g>\n</svg>",
        ),
        [
            id.clone(),
            id.clone(),
            PageHtml::length(layout.width),
            PageHtml::length(layout.height),
            PageHtml::length(layout.width),
            PageHtml::length(layout.height),
            id.clone(),
            title.clone(),
            style.clone(),
            PageHtml::concat(headings),
            PageHtml::concat(edges),
            PageHtml::concat(nodes),
        ],
    )
}

fn edge(from: usize, to: usize, (from_x, from_y): (f64, f64), (to_x, to_y): (f64, f64)) -> PageHtml {
    let (start, end) = ((from_x + NODE_WIDTH, from_y + NODE_HEIGHT / 2.0), (to_x, to_y + NODE_HEIGHT / 2.0));
    let middle = f64::midpoint(start.0, end.0);
    PageHtml::template(
        "<path data-from=\"{}\" data-to=\"{}\" d=\"M{} {}C{} {} {} {} {} {}\"/>\n",
        [
            PageHtml::digits(from),
            PageHtml::digits(to),
            PageHtml::length(start.0),
            PageHtml::length(start.1),
            PageHtml::length(middle),
            PageHtml::length(start.1),
            PageHtml::length(middle),
            PageHtml::length(end.1),
            PageHtml::length(end.0),
            PageHtml::length(end.1),
        ],
    )
}

fn node(number: usize, node: &GraphNode, (x, y): (f64, f64)) -> PageHtml {
    let class = match node.severity {
        Some(AccessSeverityJson::Critical) => "node critical",
        Some(AccessSeverityJson::High) => "node high",
        Some(AccessSeverityJson::Medium | AccessSeverityJson::Low) | None => "node",
    };
    let mark = node.severity.filter(|severity| *severity >= AccessSeverityJson::High);
    let mark = mark.map_or("", |_| "⚠ ");
    PageHtml::template(
        concat!(
            "<g class=\"{}\" data-node=\"{}\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\"/>",
            "<text x=\"{}\" y=\"{}\">{}{}</text></g>\n",
        ),
        [
            PageHtml::markup(class),
            PageHtml::digits(number),
            description(node),
            PageHtml::length(x),
            PageHtml::length(y),
            PageHtml::length(NODE_WIDTH),
            PageHtml::length(NODE_HEIGHT),
            PageHtml::length(x + 8.0),
            PageHtml::length(y + NODE_HEIGHT / 2.0 + 4.5),
            PageHtml::markup(mark),
            PageHtml::short_text(&node.label(), MAX_LABEL),
        ],
    )
}

/// Returns the full names of a node's objects.
fn description(node: &GraphNode) -> PageHtml {
    let mut names: Vec<PageHtml> = node.objects.iter().take(MAX_LISTED).map(|object| PageHtml::text(object)).collect();
    if let Some(more) = node.objects.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        names.push(PageHtml::template("and {} more", [PageHtml::number(more)]));
    }
    let names = PageHtml::join(names, ", ");
    match node.severity.filter(|severity| *severity >= AccessSeverityJson::High) {
        Some(severity) => PageHtml::template("{} (escalation path: {})", [names, PageHtml::markup(severity.name())]),
        None => names,
    }
}
