//! The values of `--allow`.

use crate::diagnostic::Diagnostic;
use crate::guard::AllowFlag;
use crate::ops::CommandError;

/// Parses the values of `--allow`.
///
/// # Errors
/// All values that are not valid.
pub(crate) fn parse_allow_flags(values: &[String]) -> Result<Vec<AllowFlag>, CommandError> {
    if let Some(error) = values.iter().find_map(|value| comma_separated_error(value)) {
        return Err(error);
    }
    let mut flags = Vec::with_capacity(values.len());
    let mut errors = Vec::new();
    for value in values {
        match AllowFlag::parse(value) {
            Ok(flag) => flags.push(flag),
            Err(error) => errors.push(Diagnostic::error(error.to_string()).with_help(error.help())),
        }
    }
    if errors.is_empty() { Ok(flags) } else { Err(errors.into()) }
}

/// Returns the error for several values in one flag. IAM names can have commas, so `remove:ARN,b` is one value. It is
/// an error only if an ARN or another risk follows a comma.
fn comma_separated_error(text: &str) -> Option<CommandError> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (first, rest) = parts.split_first()?;
    let is_other_value = |part: &&str| part.starts_with("arn:") || AllowFlag::parse(part).is_ok();
    if !rest.iter().any(is_other_value) {
        return None;
    }
    let kind = first.split_once(':').map(|(kind, _)| kind).unwrap_or_default();
    let flags = parts.iter().map(|part| {
        if part.starts_with("arn:") { format!("--allow {kind}:{part}") } else { format!("--allow {part}") }
    });
    let error = Diagnostic::error(format!("invalid value `{text}` for `--allow`: several values, separated by commas"));
    Some(CommandError::from_diagnostic(
        error.with_help(format!("repeat the flag: {}", flags.collect::<Vec<_>>().join(" "))),
    ))
}
