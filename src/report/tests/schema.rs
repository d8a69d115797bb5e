//! The published schemas are generated from the types of `report` and checked in under `schema/`.
//!
//! `BLESS=1 cargo test --lib report::tests::schema` regenerates them. `policy.schema.json` is not among them: it describes
//! the TOML of a policy and is written by hand.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::report::{
    AccessReportDocument, AnswersDocument, BackupDocument, ClustersDocument, DiagnosticsDocument, EventRecord,
    ExplanationDocument, FORMAT_VERSION, MigrationDocument, PermissionsDocument, PlanDocument, TestDocument,
    WhoamiDocument,
};

/// Returns the schema in the form in which it is published. The names of the types lose the suffix `Json`, a
/// description is one line and the first key, and the width of Rust's integers is left out.
fn readable(value: Value) -> Value {
    let name = |text: &str| text.strip_suffix("Json").unwrap_or(text).to_owned();
    match value {
        Value::Object(mut map) => {
            let mut out = Map::new();
            if let Some(text) = map.get("description").and_then(Value::as_str) {
                out.insert("description".to_owned(), json!(text.replace('\n', " ")));
                map.remove("description");
            }
            if map.get("format").is_some_and(|format| format == "uint") {
                map.remove("format");
            }
            for (key, value) in map {
                let value = match (key.as_str(), value) {
                    ("$ref", Value::String(text)) => json!(name(&text)),
                    ("$defs", Value::Object(types)) => {
                        let types = types.into_iter().map(|(key, schema)| (name(&key), readable(schema)));
                        Value::Object(types.collect::<BTreeMap<_, _>>().into_iter().collect())
                    }
                    // Here the keys are those of the documents, which can be named `description` too.
                    ("properties", Value::Object(properties)) => {
                        Value::Object(properties.into_iter().map(|(key, schema)| (key, readable(schema))).collect())
                    }
                    (_, value) => readable(value),
                };
                out.insert(key, value);
            }
            Value::Object(out)
        }
        Value::Array(items) => items.into_iter().map(readable).collect(),
        other => other,
    }
}

fn generated<T: JsonSchema>(name: &str) -> Value {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    let Value::Object(mut rest) = readable(schema.to_value()) else { panic!("a schema is an object") };
    rest.remove("title");
    let mut out = Map::new();
    out.insert("$schema".to_owned(), rest.remove("$schema").unwrap());
    out.insert("$id".to_owned(), json!(format!("urn:rolecall:schema:{name}:{FORMAT_VERSION}")));
    out.insert("title".to_owned(), json!(format!("rolecall {name}")));
    out.insert("description".to_owned(), rest.remove("description").unwrap());
    out.insert(
        "$comment".to_owned(),
        json!(format!("Version {FORMAT_VERSION}, the format-version of the documents. Generated from src/report.")),
    );
    out.extend(rest);
    Value::Object(out)
}

fn all_schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("plan", generated::<PlanDocument>("plan")),
        ("migration", generated::<MigrationDocument>("migration")),
        ("backup", generated::<BackupDocument>("backup")),
        ("access", generated::<AnswersDocument>("access")),
        ("report", generated::<AccessReportDocument>("report")),
        ("diagnostics", generated::<DiagnosticsDocument>("diagnostics")),
        ("explanation", generated::<ExplanationDocument>("explanation")),
        ("test", generated::<TestDocument>("test")),
        ("permissions", generated::<PermissionsDocument>("permissions")),
        ("clusters", generated::<ClustersDocument>("clusters")),
        ("whoami", generated::<WhoamiDocument>("whoami")),
        ("events", generated::<EventRecord>("events")),
    ]
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads and writes the checked-in schemas")]
fn checked_in_schemas_are_generated_from_the_types() {
    let mut different = Vec::new();
    for (name, schema) in all_schemas() {
        let text = format!("{schema:#}\n");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{name}.schema.json"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, text).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            different.push(name);
        }
    }
    assert!(
        different.is_empty(),
        "the schemas {different:?} differ from the types: review the change, then run `BLESS=1 cargo test --lib report::tests::schema`"
    );
}

/// Collects the properties that have no description, and whose type has none either.
fn collect_undescribed(root: &Value, node: &Value, path: &str, out: &mut Vec<String>) {
    match node {
        Value::Object(map) => {
            // A variant of an enum has one property and describes itself.
            let is_variant = map.get("description").is_some()
                && map.get("properties").is_some_and(|all| all.as_object().is_some_and(|all| all.len() == 1));
            for (key, value) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let target =
                    value.get("$ref").and_then(Value::as_str).and_then(|to| root.pointer(to.trim_start_matches('#')));
                let described =
                    [Some(value), target].into_iter().flatten().any(|schema| schema.get("description").is_some());
                let is_tag = value.get("const").is_some();
                if !described && !is_tag && !is_variant {
                    out.push(format!("{path}/{key}"));
                }
            }
            for (key, value) in map {
                collect_undescribed(root, value, &format!("{path}/{key}"), out);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                collect_undescribed(root, item, &format!("{path}/{number}"), out);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_of_a_document_is_described() {
    let mut missing = Vec::new();
    for (name, schema) in all_schemas() {
        collect_undescribed(&schema, &schema, name, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
