//! The published schemas, as whoever reads rolecall's JSON has them.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// # Panics
/// Where the plan is not what the schema says, with every fault.
#[track_caller]
pub fn fits_the_schema(plan: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/plan.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<String> = validator.iter_errors(plan).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{plan:#}");
}
