//! `docs/reference/policy.md` and `docs/reference/json.md` are generated from the JSON schemas, between two comments.
//!
//! The policy's schema has the keys of the parser and no others (tests/it/schema.rs), so the reference has them too.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{compare_or_bless, read, root};

const BEGIN: &str = "<!-- generated: BLESS=1 cargo test --test docs -->\n";
const END: &str = "<!-- end of the generated part -->\n";
/// The version in which a key was added, where its schema has no `x-since`.
const FIRST_VERSION: &str = "0.1.0";

/// One schema file.
struct Schema {
    root: Value,
    words: TypeWords,
}

/// The words for the types of a document's language.
#[derive(Clone, Copy)]
struct TypeWords {
    list: &'static str,
    table: &'static str,
}

const TOML: TypeWords = TypeWords { list: "list", table: "table" };
const JSON: TypeWords = TypeWords { list: "array", table: "object" };

/// A key of a table, or of a JSON object.
struct Row {
    /// With the path to it inside of its section: `eks.name`, `changes[].target`.
    key: String,
    kind: String,
    required: String,
    default: String,
    since: String,
    description: String,
}

impl Schema {
    fn read(name: &str, words: TypeWords) -> Self {
        let text = read(&root().join(format!("schema/{name}.schema.json")));
        Self { root: serde_json::from_str(&text).unwrap(), words }
    }

    fn definitions(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.root["$defs"].as_object().into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
    }

    /// The definition that a schema points to.
    fn target<'a>(&'a self, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
        let name = schema["$ref"].as_str()?.strip_prefix("#/$defs/")?;
        Some((name, &self.root["$defs"][name]))
    }

    /// Whether a definition gets a section of its own: it has keys.
    fn is_section(schema: &Value) -> bool {
        schema["properties"].is_object()
            || schema["oneOf"].as_array().is_some_and(|all| all.iter().any(Self::is_section))
    }

    /// A definition that only narrows another: `allOf` of one reference.
    fn narrowed<'a>(&'a self, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
        let target = schema["allOf"].as_array()?.first()?;
        self.target(target)
    }

    /// Returns the type of a value in words. A type with its own section is a link.
    fn kind(&self, schema: &Value) -> String {
        if let Some((name, target)) = self.target(schema) {
            if let Some((name, _)) = self.narrowed(target) {
                return link(name);
            }
            return if Self::is_section(target) { link(name) } else { self.kind(target) };
        }
        let alternatives = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array());
        if let Some(constant) = schema.get("const") {
            return format!("`{constant}`");
        }
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        let words: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if words.is_empty() {
            let Some(all) = alternatives else { return "any".to_owned() };
            let mut kinds: Vec<String> = all.iter().map(|one| self.kind(one)).collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
        let kinds: Vec<String> = words
            .into_iter()
            .map(|word| match word {
                "array" => format!("{} of {}", self.words.list, plural(&self.kind(&schema["items"]))),
                "object" if schema["properties"].is_object() => self.words.table.to_owned(),
                "object" => match schema.get("additionalProperties") {
                    Some(values) if values.is_object() => {
                        format!("{} of {}", self.words.table, plural(&self.kind(values)))
                    }
                    _ => self.words.table.to_owned(),
                },
                other => other.to_owned(),
            })
            .collect();
        kinds.join(" or ")
    }

    /// The description of a key: its own, or that of the definition that it points to.
    fn description(&self, schema: &Value) -> String {
        let target = self.target(schema).map(|(_, target)| target);
        let own = schema["description"].as_str();
        // A section describes itself under its heading.
        let inherited =
            target.filter(|target| !Self::is_section(target)).and_then(|target| target["description"].as_str());
        let text = own.or(inherited).or_else(|| target.and_then(|target| target["description"].as_str()));
        let mut text = text.unwrap_or_default().replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|");
        let examples = schema.get("examples").or_else(|| target.and_then(|target| target.get("examples")));
        let examples: Vec<String> =
            examples.and_then(Value::as_array).into_iter().flatten().map(|one| format!("`{}`", toml(one))).collect();
        if !examples.is_empty() {
            let word = if examples.len() == 1 { "Example" } else { "Examples" };
            write!(text, " {word}: {}.", examples.join(", ")).unwrap();
        }
        text.trim().to_owned()
    }

    /// The keys of an object, and of the objects inside of it that are no definitions.
    fn rows(&self, schema: &Value, prefix: &str, out: &mut Vec<Row>) {
        for (key, value) in properties(schema) {
            let path = format!("{prefix}{key}");
            let since = value["x-since"].as_str().unwrap_or(FIRST_VERSION).to_owned();
            out.push(Row {
                kind: self.kind(value),
                required: required(schema, key),
                default: value.get("default").map(|value| format!("`{value}`")).unwrap_or_default(),
                since,
                description: self.description(value),
                key: path.clone(),
            });
            let (inner, suffix) = if value["items"].is_object() { (&value["items"], "[].") } else { (value, ".") };
            self.rows(inner, &format!("{path}{suffix}"), out);
        }
        let forms = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
        // An enum whose variants have data: one key, which the description of the variant explains.
        let has_one_key_each = forms.iter().all(|form| properties(form).count() == 1);
        for form in forms {
            if form["description"].is_string() || schema.get("properties").is_none() {
                let from = out.len();
                self.rows(form, prefix, out);
                for row in &mut out[from..] {
                    row.required =
                        if has_one_key_each { "exactly one of these keys" } else { "in one form" }.to_owned();
                    if row.description.is_empty() && properties(form).count() == 1 {
                        row.description = form["description"].as_str().unwrap_or_default().replace('\n', " ");
                    }
                }
            }
        }
    }

    fn section(&self, title: &str, schema: &Value, with_since: bool, out: &mut String) {
        let mut rows = Vec::new();
        self.rows(schema, "", &mut rows);
        let mut seen = Vec::new();
        rows.retain(|row| {
            let identity = (row.key.clone(), row.kind.clone(), row.description.clone());
            let is_new = !seen.contains(&identity);
            seen.push(identity);
            is_new
        });
        writeln!(out, "{title}\n").unwrap();
        if let Some(text) = schema["description"].as_str() {
            writeln!(out, "{text}\n").unwrap();
        }
        let has_default = rows.iter().any(|row| !row.default.is_empty());
        let mut line = |key: &str, kind: &str, required: &str, default: &str, since: &str, description: &str| {
            let mut cells = vec![key, kind, required];
            cells.extend(has_default.then_some(default));
            cells.extend(with_since.then_some(since));
            cells.push(description);
            writeln!(out, "| {} |", cells.join(" | ")).unwrap();
        };
        line("Key", "Type", "Required", "Default", "Since", "Description");
        line("---", "---", "---", "---", "---", "---");
        for row in rows {
            let Row { key, kind, required, default, since, description } = row;
            line(&format!("`{key}`"), &kind, &required, &default, &since, &description);
        }
        out.push('\n');
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten().filter(|(_, value)| value.is_object())
}

/// The words for several values of a type.
fn plural(kind: &str) -> String {
    let words = kind.split(" or ").map(|word| match word {
        "string" | "integer" | "table" | "object" => format!("{word}s"),
        other => match other.split_once(" of ") {
            Some((collection @ ("list" | "table" | "array" | "object"), items)) => format!("{collection}s of {items}"),
            _ => other.to_owned(),
        },
    });
    words.collect::<Vec<_>>().join(" or ")
}

fn link(name: &str) -> String {
    format!("[{name}](#{name})")
}

/// A JSON value as TOML has it.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Whether a key is required, in words: `yes`, `no`, or with which others it makes a choice.
fn required(schema: &Value, key: &str) -> String {
    let lists = |value: &Value| value["required"].as_array().is_some_and(|all| all.iter().any(|one| one == key));
    if lists(schema) {
        return "yes".to_owned();
    }
    let all_of = schema["allOf"].as_array().into_iter().flatten();
    for holder in std::iter::once(schema).chain(all_of) {
        for (choice, words) in [("oneOf", "exactly one of"), ("anyOf", "at least one of")] {
            let Some(alternatives) = holder[choice].as_array() else { continue };
            if !alternatives.iter().any(lists) {
                continue;
            }
            let mut keys: Vec<&str> = alternatives
                .iter()
                .filter_map(|one| one["required"].as_array())
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            keys.dedup();
            return format!("{words} {}", keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "));
        }
    }
    "no".to_owned()
}

/// The tables of a policy in the order of the schema, and then the tables inside of them.
fn policy() -> String {
    let schema = Schema::read("policy", TOML);
    let mut out = String::new();
    let mut used = Vec::new();
    for (key, value) in properties(&schema.root) {
        let (title, content) = if value["$ref"].is_string() {
            (format!("[{key}]"), value)
        } else if value["items"].is_object() {
            (format!("[[{key}]]"), &value["items"])
        } else {
            (format!("[{key}.NAME]"), &value["additionalProperties"])
        };
        let (name, definition) = schema.target(content).unwrap();
        used.push(name);
        let mut definition = definition.clone();
        if let Some(text) = value["description"].as_str() {
            let own = definition["description"].as_str().unwrap_or_default();
            definition["description"] = Value::String(format!("{text} {own}").trim().to_owned());
        }
        schema.section(&format!("## `{title}`"), &definition, true, &mut out);
    }
    out.push_str("## Tables inside of these\n\n");
    for (name, definition) in schema.definitions() {
        if Schema::is_section(definition) && !used.contains(&name) && schema.narrowed(definition).is_none() {
            schema.section(&format!("### {name}"), definition, true, &mut out);
        }
    }
    out
}

/// The schemas of the output by the commands that print them.
const DOCUMENTS: [&str; 10] =
    ["plan", "backup", "access", "explanation", "report", "diagnostics", "test", "whoami", "clusters", "permissions"];

fn documents() -> String {
    let mut out = String::new();
    for name in DOCUMENTS {
        let schema = Schema::read(name, JSON);
        let mut part = String::new();
        schema.section(&format!("## {name}"), &schema.root, false, &mut part);
        for (definition, content) in schema.definitions() {
            if Schema::is_section(content) {
                schema.section(&format!("### {name}: {definition}"), content, false, &mut part);
            }
        }
        // The same definition may be in several schemas, so that headings and links carry the schema's name.
        for (definition, _) in schema.definitions() {
            part = part.replace(&link(definition), &format!("[{definition}](#{name}-{})", definition.to_lowercase()));
        }
        out.push_str(&part);
    }
    out
}

/// Replaces the generated part of a document.
#[track_caller]
fn generated(file: &str, content: &str) {
    let path = root().join("docs/reference").join(file);
    let text = read(&path);
    let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{file} needs the line {BEGIN}"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{file} needs the line {END}"));
    compare_or_bless(&path, &format!("{before}{BEGIN}\n{content}{END}{after}"));
}

#[test]
fn policy_reference_is_up_to_date() {
    generated("policy.md", &policy());
}

#[test]
fn json_reference_is_up_to_date() {
    generated("json.md", &documents());
}

#[test]
fn every_top_level_key_has_a_section() {
    let text = policy();
    let keys: Map<String, Value> = Schema::read("policy", TOML).root["properties"].as_object().unwrap().clone();
    for key in keys.keys() {
        let is_there = [format!("`[{key}]`"), format!("`[[{key}]]`"), format!("`[{key}.NAME]`")];
        assert!(is_there.iter().any(|title| text.contains(&format!("## {title}\n"))), "{key}");
    }
}
