//! Panics, which only a bug can cause. They become internal errors.
//!
//! The message of a panic in a library can quote what the library was working on, such as a key. So it is printed only
//! for a panic in the code of rolecall.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::diagnostic::InternalError;
use crate::ops::CommandError;

/// Where the last panic was. `None` without the hook.
static LAST_LOCATION: Mutex<Option<String>> = Mutex::new(None);

/// Replaces the hook of the standard library, which prints the message of every panic.
pub(super) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        // If stderr is closed, the error cannot be reported anywhere.
        let _ = writeln!(std::io::stderr(), "panicked at {location}");
        *LAST_LOCATION.lock().unwrap_or_else(PoisonError::into_inner) = Some(location);
    }));
}

/// Turns a panic into an internal error.
pub(super) fn catch_panic<T>(command: impl FnOnce() -> Result<T, CommandError>) -> Result<T, CommandError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(command)).unwrap_or_else(|payload| {
        let location = LAST_LOCATION.lock().unwrap_or_else(PoisonError::into_inner).take();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(InternalError::new(describe_panic(location.as_deref(), text)).into())
    })
}

/// The paths of rolecall's own sources are relative, and those of libraries are absolute.
fn describe_panic(location: Option<&str>, text: &str) -> String {
    match location {
        Some(location) if !location.starts_with("src/") && !location.starts_with("src\\") => {
            let file = location.rsplit(['/', '\\']).next().unwrap_or_default();
            format!("panic in a library, in {file}")
        }
        Some(_) | None => format!("panic: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_of_a_library_has_no_message() {
        assert_eq!(
            describe_panic(Some("/x/registry/src/tls-1/key.rs:3:1"), "SECRET"),
            "panic in a library, in key.rs:3:1"
        );
        assert_eq!(describe_panic(Some("src/plan/mod.rs:3:1"), "no step"), "panic: no step");
    }
}
