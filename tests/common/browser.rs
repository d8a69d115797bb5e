//! Opens pages in headless Chromium by `tests/browser/open_page.mjs`. What is missing fails the test, and the message says how
//! to install it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const CHROMIUM: &str = "/usr/bin/chromium";

/// What a page did in the browser.
#[derive(Debug)]
pub struct OpenedPage(pub Value);

/// Opens a page in light and in dark, and runs the actions in it: the name of each and its arguments.
///
/// With the variable `ROLECALL_SCREENSHOTS`, pictures of the page are written to that directory.
///
/// # Panics
/// If Chromium, Node.js or the packages of `tests/browser` are missing, or the page does not open.
pub fn open_page(page: &Path, actions: &[Value]) -> OpenedPage {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(
        Path::new(CHROMIUM).exists(),
        "{CHROMIUM} is missing; on Debian, run: apt-get install -y --no-install-recommends chromium"
    );
    assert!(
        folder.join("node_modules/playwright-core/package.json").exists()
            && folder.join("node_modules/axe-core/package.json").exists(),
        "the packages of tests/browser are missing; run: npm ci --prefix tests/browser --ignore-scripts"
    );
    let profile = TempDir::new().expect("a temporary directory cannot be created");
    let screenshots = std::env::var_os("ROLECALL_SCREENSHOTS").map(PathBuf::from);
    if let Some(screenshots) = &screenshots {
        std::fs::create_dir_all(screenshots).expect("the directory of screenshots is writable");
    }
    let job = json!({
        "page": page,
        "profile": profile.path(),
        "chromium": CHROMIUM,
        "screenshots": screenshots,
        "actions": actions,
    });
    let output = Command::new("node")
        .arg(folder.join("open_page.mjs"))
        .arg(job.to_string())
        .current_dir(&folder)
        .output()
        .expect("Node.js cannot be started; install version 20 or newer, on Debian: apt-get install -y nodejs npm");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} was not opened:\n{stdout}{stderr}", page.display());
    OpenedPage(serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

impl OpenedPage {
    /// Asserts that the page made no request, reported no error, and has no serious fault for people with disabilities.
    #[track_caller]
    pub fn assert_clean(&self) {
        for (name, path) in [
            ("console", "/console"),
            ("requests", "/requests"),
            ("violations of its policy", "/violations"),
            ("faults of axe-core in light", "/axe/light"),
            ("faults of axe-core in dark", "/axe/dark"),
        ] {
            let found = self.0.pointer(path).and_then(Value::as_array).expect("the result has a list");
            assert!(found.is_empty(), "{name}: {found:#?}");
        }
    }

    /// The result of an action, by its number.
    #[track_caller]
    pub fn action(&self, number: usize) -> &Value {
        &self.0["actions"][number]
    }

    /// The longest time in milliseconds from the navigation until the page can be used.
    pub fn interactive(&self) -> u64 {
        ["interactive_light", "interactive_dark"]
            .iter()
            .filter_map(|name| self.0[name].as_u64())
            .max()
            .unwrap_or(u64::MAX)
    }
}
