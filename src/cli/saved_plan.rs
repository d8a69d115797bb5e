//! Reads the file of a saved plan for `apply --plan FILE`.

#![expect(clippy::disallowed_methods, reason = "reads the plan file")]

use std::path::Path;

use super::env::Env;
use super::plan_signature;
use crate::diagnostic::Diagnostic;
use crate::ops::CommandError;

/// Reads the file of a saved plan, and verifies its signature if a key is given. A file that is not signed is not even
/// parsed.
pub(super) fn read_plan_file(path: &Path, verify_key: Option<&Path>, env: &Env) -> Result<String, CommandError> {
    let name = path.display();
    let text = std::fs::read_to_string(env.cwd.join(path)).map_err(|error| {
        let diagnostic = Diagnostic::error(format!("cannot read the plan {name}: {error}"));
        CommandError::from_diagnostic(
            diagnostic.with_help(format!("make a new plan with `rolecall plan --out {name}`")),
        )
    })?;
    env.inputs.record(&env.cwd.join(path), "the plan");
    if let Some(key) = verify_key {
        plan_signature::verify(path, text.as_bytes(), key, env)?;
    }
    Ok(text)
}
