//! Finds and reads the files of the policy: one TOML file, or the .toml files of a directory.

#![expect(clippy::disallowed_methods, reason = "reads the files of the policy")]

use std::io;
use std::path::{Path, PathBuf};

use super::env::Env;
use crate::diagnostic::Diagnostic;
use crate::files::contained_file;
use crate::ops::{CommandError, LoadedPolicy, PolicyFiles};
use crate::render::diagnostics;

const DEFAULT_PATHS: [&str; 2] = ["rolecall.toml", "rolecall"];

/// Prints the warnings of the policy.
pub(crate) fn print_policy_warnings(loaded: &LoadedPolicy, env: &mut Env) {
    if !loaded.warnings.is_empty() {
        let text = diagnostics::render_diagnostics(&loaded.warnings, &loaded.policy.sources, env.stderr_style());
        env.note_text(&text);
    }
}

/// Reads the files of the named policy, or of the policy in the current directory.
pub(crate) fn read_policy(path: Option<&Path>, env: &Env) -> Result<PolicyFiles, CommandError> {
    match path {
        Some(path) => read_policy_at(path, env),
        None => {
            let path = find_policy(env).ok_or_else(policy_not_found)?;
            if leads_out(&env.cwd, &path) {
                return Err(leads_out_error(&path));
            }
            read_policy_at(&path, env)
        }
    }
}

/// Returns whether a path leads through links out of the directory, or to a file that is not a TOML file.
fn leads_out(folder: &Path, path: &Path) -> bool {
    contained_file(folder, path, &["toml"], ".toml").is_err()
}

fn leads_out_error(path: &Path) -> CommandError {
    let error = Diagnostic::error(format!("the policy {} is a link to a file outside its directory", path.display()))
        .with_because("a link in a pull request could lead to a file with secrets, which errors would show")
        .with_help("replace the link by the file, or name the file itself on the command line");
    CommandError::from_diagnostic(error)
}

/// Reads and parses the policy, and prints its warnings.
pub(crate) fn load_policy(path: Option<&Path>, env: &mut Env) -> Result<LoadedPolicy, CommandError> {
    let loaded = read_policy(path, env)?.parse()?;
    print_policy_warnings(&loaded, env);
    Ok(loaded)
}

/// Returns the policy in the current directory, if there is one.
pub(crate) fn find_policy(env: &Env) -> Option<PathBuf> {
    DEFAULT_PATHS.into_iter().map(PathBuf::from).find(|path| env.cwd.join(path).exists())
}

fn policy_not_found() -> CommandError {
    let error =
        Diagnostic::error("no policy found: there is no rolecall.toml and no rolecall/ in the current directory");
    CommandError::from_diagnostic(
        error
            .with_help("name the policy: a TOML file, or a directory with TOML files")
            .with_help("for a policy to start from, run `rolecall schema --example > rolecall.toml`"),
    )
}

fn read_policy_at(path: &Path, env: &Env) -> Result<PolicyFiles, CommandError> {
    let absolute = env.cwd.join(path);
    let files = if absolute.is_dir() { list_toml_files(path, &absolute)? } else { vec![path.to_owned()] };
    let is_folder = absolute.is_dir();
    let base_dir = if is_folder { absolute.clone() } else { absolute.parent().map(Path::to_owned).unwrap_or_default() };
    if is_folder {
        env.inputs.record_policy_folder(&absolute);
    }
    let name = Path::new(absolute.file_name().unwrap_or_default());
    let leading_out = (absolute.is_symlink() && !is_folder && leads_out(&base_dir, name)).then(|| path.to_owned());
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        // A link to a file of the same directory is how Kubernetes mounts a ConfigMap.
        let name = Path::new(file.file_name().unwrap_or_default());
        if is_folder && leads_out(&base_dir, name) {
            return Err(leads_out_error(&file));
        }
        env.inputs.record(&env.cwd.join(&file), "the policy");
        let bytes = std::fs::read(env.cwd.join(&file)).map_err(|error| read_error(&file, &error))?;
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
    Ok(PolicyFiles { files: texts, base_dir, leading_out })
}

/// Returns whether a text was written by `plan --out`, in any version of the format. A policy never starts with a
/// brace.
fn is_saved_plan(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && serde_json::from_str::<serde_json::Value>(text)
            .is_ok_and(|value| value.get("format-version").is_some() && value.get("plans").is_some())
}

/// Returns the path with slashes on every system, so that plans of different systems are the same.
fn display_path(path: &Path) -> String {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
        .replacen("//", "/", 1)
}

/// Returns the .toml files of a directory, sorted by name. Hidden files and subdirectories are left out.
fn list_toml_files(path: &Path, absolute: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let entries = std::fs::read_dir(absolute).map_err(|error| read_error(path, &error))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| read_error(path, &error))?.file_name();
        let is_hidden = name.to_string_lossy().starts_with('.');
        let file = path.join(&name);
        if !is_hidden && file.extension().is_some_and(|extension| extension == "toml") && absolute.join(&name).is_file()
        {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let error = Diagnostic::error(format!("the directory {} has no .toml file", path.display()));
        return Err(CommandError::from_diagnostic(
            error.with_help("name a TOML file, or a directory with TOML files; subdirectories are not read"),
        ));
    }
    Ok(files)
}

fn read_error(path: &Path, error: &io::Error) -> CommandError {
    let name = path.display();
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => "check the permissions of the file",
        _ => "name a TOML file, or a directory with TOML files",
    };
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("the policy {name} does not exist"),
        io::ErrorKind::PermissionDenied => format!("cannot read the policy {name}: permission denied"),
        _ => format!("cannot read the policy {name}: {error}"),
    };
    CommandError::from_diagnostic(Diagnostic::error(message).with_help(help))
}

fn utf8_error(path: &Path, error: &std::string::FromUtf8Error) -> CommandError {
    let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
    let line = valid.filter(|byte| **byte == b'\n').count() + 1;
    let error = format!("{} is not a text file: line {line} is not UTF-8", path.display());
    CommandError::from_diagnostic(Diagnostic::error(error).with_help("save the file as UTF-8"))
}
