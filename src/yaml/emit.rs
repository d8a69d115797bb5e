//! Writes a value as block-style YAML in the layout of `kubectl get -o yaml`: lists in the column of
//! their key, multi-line strings as literal blocks. The same value always gives the same bytes.

use serde_json::{Map, Value as Json};

use super::quote::quoted;

/// Returns one document, without `---`. Keys keep their order.
pub(crate) fn to_yaml(value: &Json) -> String {
    let mut out = String::new();
    match value {
        Json::Object(map) if !map.is_empty() => write_mapping(&mut out, map, 0),
        Json::Array(items) if !items.is_empty() => write_sequence(&mut out, items, 0),
        Json::String(text) if can_be_literal(text) => write_literal(&mut out, text, 0),
        _ => {
            out.push_str(&format_inline(value));
            out.push('\n');
        }
    }
    out
}

fn write_mapping(out: &mut String, map: &Map<String, Json>, indent: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            push_indent(out, indent);
        }
        let key_text = quoted(key);
        // A reader accepts a key without `?` only up to 1,024 characters.
        let explicit = key_text.chars().count() > 1000;
        if explicit {
            out.push_str("? ");
        }
        out.push_str(&key_text);
        if explicit {
            out.push('\n');
            push_indent(out, indent);
        }
        out.push(':');
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                push_indent(out, indent + 2);
                write_mapping(out, inner, indent + 2);
            }
            Json::Array(items) if !items.is_empty() => {
                out.push('\n');
                push_indent(out, indent);
                write_sequence(out, items, indent);
            }
            Json::String(text) if can_be_literal(text) => {
                out.push(' ');
                write_literal(out, text, indent + 2);
            }
            _ => {
                out.push(' ');
                out.push_str(&format_inline(value));
                out.push('\n');
            }
        }
    }
}

fn write_sequence(out: &mut String, items: &[Json], indent: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            push_indent(out, indent);
        }
        out.push_str("- ");
        match item {
            Json::Object(inner) if !inner.is_empty() => write_mapping(out, inner, indent + 2),
            Json::Array(inner) if !inner.is_empty() => write_sequence(out, inner, indent + 2),
            Json::String(text) if can_be_literal(text) => write_literal(out, text, indent + 2),
            _ => {
                out.push_str(&format_inline(item));
                out.push('\n');
            }
        }
    }
}

fn format_inline(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(boolean) => boolean.to_string(),
        Json::Number(number) => write_number(&number.to_string()),
        Json::String(text) => quoted(text),
        Json::Array(_) => "[]".to_owned(),
        Json::Object(_) => "{}".to_owned(),
    }
}

/// Adds a dot and a sign to `1e30`: the float of the YAML 1.1 type repository has both, and readers
/// other than go-yaml would take the short form for a string.
fn write_number(number: &str) -> String {
    match number.split_once(['e', 'E']) {
        None => number.to_owned(),
        Some((mantissa, exponent)) => {
            let dot = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
            format!("{mantissa}{dot}e{sign}{exponent}")
        }
    }
}

/// Returns whether a string can be a literal block. Characters that need an escape cannot. Blank first or
/// last lines and trailing whitespace could, but an editor that strips them would change the value. A line that CI systems
/// take for a command would be run if the document is printed in a workflow.
fn can_be_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with('\n')
        && body
            .split('\n')
            .all(|line| !line.ends_with([' ', '\t']) && line.chars().all(|c| c == '\t' || !needs_escape(c)))
        && !body.lines().any(|line| line.starts_with('\t'))
        && !body.lines().any(|line| line.trim_start().starts_with("::") || line.contains("##["))
}

fn needs_escape(c: char) -> bool {
    let written = super::quote::double_quoted(c.encode_utf8(&mut [0; 4]));
    written.starts_with("\"\\") && c != '"' && c != '\\'
}

fn write_literal(out: &mut String, text: &str, indent: usize) {
    let (header, body) = match text.strip_suffix('\n') {
        Some(body) => ("|", body),
        None => ("|-", text),
    };
    out.push_str(header);
    out.push('\n');
    for line in body.split('\n') {
        if !line.is_empty() {
            push_indent(out, indent.max(2));
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn push_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}
