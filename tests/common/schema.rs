//! Validates JSON output against the published schemas.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// # Panics
/// If the plan does not match the schema, with every violation.
#[track_caller]
pub fn assert_matches_plan_schema(plan: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/plan.schema.json");
    assert_matches_schema(&fs::read_to_string(path).unwrap(), plan);
}

/// Checks a document against a schema, such as the output of `rolecall schema`.
///
/// # Panics
/// If the document does not match the schema, with every violation.
#[track_caller]
pub fn assert_matches_schema(schema: &str, document: &Value) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let violations: Vec<String> = validator.iter_errors(document).map(|error| error.to_string()).collect();
    assert!(violations.is_empty(), "{violations:#?}\n{document:#}");
}
