//! Where the nodes of a graph are in an image. The library orders the nodes of each column so that few edges cross.

use rust_sugiyama::configure::{Config, CrossingMinimization, RankingType};
use rust_sugiyama::from_vertices_and_edges;

use super::access_graph::{AccessGraph, GraphColumn};

/// The size of a node.
pub(super) const NODE_WIDTH: f64 = 220.0;
pub(super) const NODE_HEIGHT: f64 = 26.0;
/// The space between two nodes of a column.
const NODE_GAP: f64 = 10.0;
/// The space between two columns, which has the edges.
const COLUMN_GAP: f64 = 90.0;
/// The space above the nodes, which has the headings of the columns.
pub(super) const TOP: f64 = 34.0;
/// The space at the other sides.
const MARGIN: f64 = 8.0;

/// The positions of the nodes, by their upper left corners, and the size of the image.
pub(super) struct GraphLayout {
    pub(super) positions: Vec<(f64, f64)>,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl GraphLayout {
    pub(super) fn new(graph: &AccessGraph) -> Self {
        let number = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        // The library has layers from top to bottom, so its width is the height of a node here.
        let vertices: Vec<(u32, (f64, f64))> =
            (0..graph.nodes.len()).map(|position| (number(position), (NODE_HEIGHT, NODE_WIDTH))).collect();
        let edges: Vec<(u32, u32)> = graph.edges.iter().map(|(from, to)| (number(*from), number(*to))).collect();
        let config = Config {
            minimum_length: 1,
            vertex_spacing: NODE_GAP,
            dummy_vertices: true,
            dummy_size: 1.0,
            ranking_type: RankingType::Up,
            c_minimization: CrossingMinimization::Barycenter,
            transpose: true,
        };
        let mut positions = vec![(0.0, 0.0); graph.nodes.len()];
        let mut top = TOP;
        // Each connected part has a layout of its own. They are put one below the other.
        for (nodes, _, _) in from_vertices_and_edges(&vertices, &edges, &config) {
            let lowest = nodes.iter().map(|(_, (across, _))| *across).fold(f64::INFINITY, f64::min);
            let mut bottom = top;
            for (node, (across, _)) in nodes {
                let y = top + across - lowest;
                if let (Some(position), Some(node)) = (positions.get_mut(node), graph.nodes.get(node)) {
                    *position = (column_left(node.column), y);
                    bottom = f64::max(bottom, y + NODE_HEIGHT + NODE_GAP);
                }
            }
            top = bottom;
        }
        Self { positions, width: column_left(GraphColumn::Role) + NODE_WIDTH + MARGIN, height: top + MARGIN }
    }
}

/// The left side of a column.
pub(super) fn column_left(column: GraphColumn) -> f64 {
    let number = match column {
        GraphColumn::Principal => 0.0,
        GraphColumn::Subject => 1.0,
        GraphColumn::Binding => 2.0,
        GraphColumn::Role => 3.0,
    };
    MARGIN + number * (NODE_WIDTH + COLUMN_GAP)
}
