//! `rolecall graph`: who has access through which groups, bindings and roles, as a graph.

use super::env::Env;
use super::exit::Exit;
use super::question::{finish, observe_targets, retain_clusters_with_subject};
use super::report_args::{GraphArgs, GraphFormat};
use crate::diagnostic::Diagnostic;
use crate::ops::{CommandError, report_access};
use crate::render::access_graph::{AccessGraph, GraphOptions, MAX_LAYOUT_NODES};
use crate::render::graph_svg::render_graph_svg;
use crate::render::graph_text::{render_graph_dot, render_graph_mermaid};

pub(crate) fn run(args: &GraphArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let GraphArgs { subject, policy, connection, parallel, after, full, format } = args;
    let (mut observed, loaded) = observe_targets(policy.as_ref(), connection, parallel, *after, env)?;
    if let Some(subject) = subject {
        retain_clusters_with_subject(&mut observed.targets, subject, env)?;
    }
    let [target] = observed.targets.as_slice() else {
        let error = Diagnostic::error(format!("a graph is for one cluster, and there are {}", observed.targets.len()));
        return Err(CommandError::from_diagnostic(error.with_help("name one with --cluster NAME")));
    };
    let subject = match subject {
        Some(text) => Some(target.parse_subject(text)?.to_string()),
        None => None,
    };
    let context = env.parallel_context(parallel);
    // The subject that was asked for is shown, also if it is a system subject.
    let document = report_access(&observed, loaded.as_ref(), true, *full || subject.is_some(), &context)?;
    for cluster in &document.clusters {
        let is_image = *format == GraphFormat::Svg;
        let options =
            GraphOptions { subject: subject.as_deref(), full: *full, max_nodes: is_image.then_some(MAX_LAYOUT_NODES) };
        let graph = AccessGraph::new(cluster, options);
        if graph.nodes.is_empty() {
            env.note("note: the graph is empty, because there is no access to show\n");
        }
        if graph.left_out > 0 {
            env.note(&format!(
                "note: {} subjects with less dangerous access are left out, so that the image can be read; name a SUBJECT, or \
                 use -o dot\n",
                graph.left_out
            ));
        }
        match format {
            GraphFormat::Svg => {
                let title = format!("Access to {}", cluster.cluster);
                env.print_data(render_graph_svg(&graph, &title).as_str());
            }
            GraphFormat::Dot => env.print_data(render_graph_dot(&graph).as_str()),
            GraphFormat::Mermaid => env.print_data(render_graph_mermaid(&graph).as_str()),
        }
    }
    Ok(finish(Exit::Success, Exit::Failed, observed.error, env))
}
