//! The options of every command: colors, the amount of output on stderr, and timeouts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice};
use jiff::SignedDuration;

/// The global options. They can be written before or after the command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// When to use colors. `auto`: on a terminal, unless NO_COLOR, CLICOLOR, CLICOLOR_FORCE or FORCE_COLOR say otherwise
    #[arg(long, global = true, value_name = "WHEN", default_value_t, env = "ROLECALL_COLOR")]
    pub(crate) color: ColorChoice,
    /// Print each API request and each run of a credential plugin with its duration on stderr
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Print only errors on stderr, no progress, notes or warnings
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Timeout for reading a cluster with everything that this needs, such as 30s or 10m [default: 5m]
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_timeout, env = "ROLECALL_TIMEOUT")]
    pub(crate) timeout: Option<Duration>,
    /// Timeout for each connection, API request and run of a credential plugin, such as 10s or 2m [default: 30s to
    /// connect, 1m for a request or plugin, 5m for a plugin that can prompt you]
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        value_parser = parse_timeout,
        env = "ROLECALL_REQUEST_TIMEOUT"
    )]
    pub(crate) request_timeout: Option<Duration>,
    /// Maximum size of one API response in MiB [default: 64]
    #[arg(long, global = true, value_name = "MIB", value_parser = parse_mebibytes, env = "ROLECALL_MAX_RESPONSE")]
    pub(crate) max_response: Option<usize>,
    /// Append what happens to this file as JSON lines: the progress, and one record for each write, as an audit log
    #[arg(long, global = true, value_name = "FILE", env = "ROLECALL_EVENTS")]
    pub(crate) events: Option<PathBuf>,
}

/// Parses a number of MiB, and returns the number of bytes.
fn parse_mebibytes(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number: &usize| *number > 0);
    let bytes = number.and_then(|number| number.checked_mul(1 << 20));
    bytes.ok_or_else(|| "expected a number of MiB, such as 64".to_owned())
}

/// Parses a duration such as `10s` or `1m 30s`.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "expected a number with a unit, such as 30s or 2m".to_owned())?;
    let duration = Duration::try_from(duration).map_err(|_| "a timeout cannot be negative".to_owned())?;
    if duration.is_zero() {
        return Err("a timeout must be longer than zero".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_size_is_a_positive_number_of_mebibytes() {
        assert_eq!(parse_mebibytes("64"), Ok(64 << 20));
        for wrong in ["", "0", "-1", "1.5", "64MiB", "99999999999999999999"] {
            assert!(parse_mebibytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn timeout_needs_a_unit_and_must_be_positive() {
        assert_eq!(parse_timeout("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_timeout("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_timeout("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["10", "", "soon", "0s", "-5s", "1 year"] {
            assert!(parse_timeout(wrong).is_err(), "{wrong:?}");
        }
    }
}
