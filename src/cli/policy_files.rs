//! Where the policy is: one file, or the .toml files of a folder.

#![expect(clippy::disallowed_methods, reason = "the policy's files are read here")]

use std::io;
use std::path::{Path, PathBuf};

use super::command_error::CommandError;
use super::env::Env;
use crate::diagnostic::Diagnostic;
use crate::policy::{self, Policy};
use crate::render::diagnostics;

const DEFAULT_PATHS: [&str; 2] = ["rolecall.toml", "rolecall"];

/// A policy and the folder from which its relative paths begin.
pub(crate) struct LoadedPolicy {
    pub(crate) policy: Policy,
    pub(crate) base_dir: PathBuf,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The files of a policy, not yet understood.
pub(crate) struct PolicyFiles {
    /// Names as people know them, and contents.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) base_dir: PathBuf,
}

impl PolicyFiles {
    /// Understands them.
    pub(crate) fn parse(self) -> Result<LoadedPolicy, CommandError> {
        match policy::load_policy(self.files) {
            Ok((policy, warnings)) => Ok(LoadedPolicy { policy, base_dir: self.base_dir, warnings }),
            Err((sources, found)) => Err(CommandError::new(sources, found)),
        }
    }
}

impl LoadedPolicy {
    /// Says what the policy's author should know.
    pub(crate) fn print_warnings(&self, world: &mut Env) {
        if !self.warnings.is_empty() {
            let text = diagnostics::render_diagnostics(&self.warnings, &self.policy.sources, world.stderr_style());
            world.note(&text);
        }
    }
}

/// Reads the files of the policy that was named, or of the one that is here.
pub(crate) fn read_policy(named: Option<&Path>, world: &Env) -> Result<PolicyFiles, CommandError> {
    match named {
        Some(path) => read_policy_at(path, world),
        None => read_policy_at(&find_policy(world).ok_or_else(policy_not_found)?, world),
    }
}

/// Reads and understands the policy. Its warnings are said.
pub(crate) fn load_policy(named: Option<&Path>, world: &mut Env) -> Result<LoadedPolicy, CommandError> {
    let loaded = read_policy(named, world)?.parse()?;
    loaded.print_warnings(world);
    Ok(loaded)
}

/// The policy of this folder, where there is one.
pub(crate) fn find_policy(world: &Env) -> Option<PathBuf> {
    DEFAULT_PATHS.into_iter().map(PathBuf::from).find(|path| world.cwd.join(path).exists())
}

fn policy_not_found() -> CommandError {
    let missing = "there is neither rolecall.toml nor rolecall/ here";
    CommandError::from_diagnostic(
        Diagnostic::error(missing).with_help("name the policy: a TOML file, or a folder of them"),
    )
}

fn read_policy_at(path: &Path, world: &Env) -> Result<PolicyFiles, CommandError> {
    let at = world.cwd.join(path);
    let files = if at.is_dir() { list_toml_files(path, &at)? } else { vec![path.to_owned()] };
    let folder = if at.is_dir() { at } else { at.parent().map(Path::to_owned).unwrap_or_default() };
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        let bytes = std::fs::read(world.cwd.join(&file)).map_err(|error| read_error(&file, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| utf8_error(&file, &error))?;
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        if is_saved_plan(&text) {
            let file = file.display();
            let error = Diagnostic::error(format!("{file} is a saved plan, not a policy"));
            return Err(CommandError::from_diagnostic(
                error.with_help(format!("apply it with `rolecall apply --plan {file}`")),
            ));
        }
        texts.push((display_path(&file), text));
    }
    Ok(PolicyFiles { files: texts, base_dir: folder })
}

/// Whether a text is what `plan --out` writes, in any version of the format. No policy begins with a brace.
fn is_saved_plan(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && serde_json::from_str::<serde_json::Value>(text)
            .is_ok_and(|value| value.get("format-version").is_some() && value.get("plans").is_some())
}

/// With slashes on every system, as links in a pull request have them.
fn display_path(path: &Path) -> String {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
        .replacen("//", "/", 1)
}

/// The folder's own .toml files by name, hidden ones left out.
fn list_toml_files(path: &Path, at: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let entries = std::fs::read_dir(at).map_err(|error| read_error(path, &error))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| read_error(path, &error))?.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        let file = path.join(&name);
        if !hidden && file.extension().is_some_and(|end| end == "toml") && at.join(&name).is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let error = Diagnostic::error(format!("the folder {} has no .toml file", path.display()));
        return Err(CommandError::from_diagnostic(
            error.with_help("a policy is a TOML file, or a folder of them; folders within are not read"),
        ));
    }
    Ok(files)
}

fn read_error(path: &Path, error: &io::Error) -> CommandError {
    let name = path.display();
    let (what, hint) = match error.kind() {
        io::ErrorKind::NotFound => (format!("there is no policy {name}"), "name a TOML file, or a folder of them"),
        io::ErrorKind::PermissionDenied => (format!("the policy {name} may not be read"), "see the file's permissions"),
        _ => (format!("the policy {name} cannot be read: {error}"), "name a TOML file, or a folder of them"),
    };
    CommandError::from_diagnostic(Diagnostic::error(what).with_help(hint))
}

fn utf8_error(path: &Path, error: &std::string::FromUtf8Error) -> CommandError {
    let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
    let line = good.filter(|byte| **byte == b'\n').count() + 1;
    let error = format!("{} is not text: line {line} is not UTF-8", path.display());
    CommandError::from_diagnostic(Diagnostic::error(error).with_help("save the file as UTF-8"))
}
