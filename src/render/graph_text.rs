//! The graph of access in the languages of Graphviz and Mermaid. Foreign text is only in quoted labels.

use super::access_graph::{AccessGraph, GraphColumn, GraphNode};
use super::markdown_text::escape_foreign;

/// A text in the language of Graphviz in which foreign text is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DotText(String);

impl DotText {
    /// Returns a foreign text as a quoted string. A backslash begins an escape sequence in a label, such as `\N` or `\l`,
    /// and Graphviz reads HTML entities in it (graphviz.org, `escString`).
    fn quoted(text: &str) -> Self {
        let text = escape_foreign(text).replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;");
        Self(format!("\"{text}\""))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text in the language of Mermaid in which foreign text is harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MermaidText(String);

impl MermaidText {
    /// Returns a foreign text as a quoted label. Mermaid reads Markdown, HTML and links in it, and `#35;` as a character.
    fn quoted(text: &str) -> Self {
        let mut out = "\"".to_owned();
        for c in escape_foreign(text).chars() {
            if c.is_alphanumeric() || " -.,()".contains(c) {
                out.push(c);
            } else {
                out.push_str(&format!("#{};", u32::from(c)));
            }
        }
        // A label that is only a word such as `end` would be read as a keyword without the quotes.
        out.push('"');
        Self(out)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the graph for `dot -Tsvg`.
pub(crate) fn render_graph_dot(graph: &AccessGraph) -> DotText {
    let mut out = String::from("digraph access {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for (number, node) in graph.nodes.iter().enumerate() {
        let shape = match node.column {
            GraphColumn::Principal => "box",
            GraphColumn::Subject => "ellipse",
            GraphColumn::Binding => "cds",
            GraphColumn::Role => "folder",
        };
        let color = if node.severity.is_some() { ", color=red" } else { "" };
        let [label, objects] = [node.label(), objects_text(node)].map(|text| DotText::quoted(&text).0);
        out.push_str(&format!("  n{number} [label={label}, tooltip={objects}, shape={shape}{color}];\n"));
    }
    for (from, to) in &graph.edges {
        out.push_str(&format!("  n{from} -> n{to};\n"));
    }
    out.push_str("}\n");
    DotText(out)
}

/// Returns the graph for a block `mermaid` in Markdown.
pub(crate) fn render_graph_mermaid(graph: &AccessGraph) -> MermaidText {
    let mut out = String::from("flowchart LR\n");
    for (number, node) in graph.nodes.iter().enumerate() {
        let label = MermaidText::quoted(&node.label()).0;
        let (start, end) = match node.column {
            GraphColumn::Principal => ("[", "]"),
            GraphColumn::Subject => ("([", "])"),
            GraphColumn::Binding => (">", "]"),
            GraphColumn::Role => ("[[", "]]"),
        };
        out.push_str(&format!("  n{number}{start}{label}{end}\n"));
    }
    for (from, to) in &graph.edges {
        out.push_str(&format!("  n{from} --> n{to}\n"));
    }
    let critical: Vec<String> = (0..)
        .zip(&graph.nodes)
        .filter(|(_, node)| node.severity.is_some())
        .map(|(number, _)| format!("n{number}"))
        .collect();
    if !critical.is_empty() {
        out.push_str(&format!(
            "  classDef escalation stroke:#b00,stroke-width:2px\n  class {} escalation\n",
            critical.join(",")
        ));
    }
    MermaidText(out)
}

fn objects_text(node: &GraphNode) -> String {
    let objects: Vec<&str> = node.objects.iter().map(String::as_str).collect();
    objects.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::is_unsafe_char;

    fn hostile() -> impl Strategy<Value = String> {
        let fragments = [
            "\"",
            "\\",
            "\\N",
            "\\\"",
            "]",
            "];",
            "\n",
            "end",
            "<b>",
            "&lt;",
            "#quot;",
            "#35;",
            ";",
            "{}",
            "-->",
            "n1",
            "`",
            "**",
            "click n0 href",
            "%%{init}%%",
            "[[",
            "(",
            "é",
            "日本",
            "\u{202e}",
            "a",
            " ",
            "subgraph",
            ":::",
            "|",
            "'",
        ];
        proptest::collection::vec(proptest::sample::select(fragments.to_vec()), 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A label is one quoted string: no quote in it ends it, and no backslash has a meaning.
        #[test]
        fn hostile_text_stays_in_its_label(name in hostile()) {
            let dot = DotText::quoted(&name).0;
            let inner = dot.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            let mut rest = inner.chars();
            while let Some(c) = rest.next() {
                prop_assert!(c != '"', "{}", dot);
                if c == '\\' {
                    prop_assert!(matches!(rest.next(), Some('\\' | '"')), "{}", dot);
                }
            }
            prop_assert!(!dot.chars().any(is_unsafe_char));
            let mermaid = MermaidText::quoted(&name).0;
            let inner = mermaid.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            let is_harmless = |c: char| c.is_alphanumeric() || " -.,()#;".contains(c);
            prop_assert!(inner.chars().all(is_harmless), "{}", mermaid);
            for piece in inner.split('#').skip(1) {
                let digits = piece.split(';').next().unwrap();
                prop_assert!(piece.contains(';') && digits.parse::<u32>().is_ok(), "{}", mermaid);
            }
        }
    }
}
