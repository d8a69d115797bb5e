//! Where the policy is: one file, or the .toml files of a folder.

#![expect(clippy::disallowed_methods, reason = "the policy's files are read here")]

use std::io;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::world::World;
use crate::diagnostic::Diagnostic;
use crate::policy::{self, Policy};
use crate::render::faults;

const DEFAULTS: [&str; 2] = ["rolecall.toml", "rolecall"];

/// A policy and the folder from which its relative paths begin.
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    pub(crate) folder: PathBuf,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The files of a policy, not yet understood.
pub(crate) struct Texts {
    /// Names as people know them, and contents.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
}

impl Texts {
    /// Understands them.
    pub(crate) fn parse(self) -> Result<Loaded, Failure> {
        match policy::load(self.files) {
            Ok((policy, warnings)) => Ok(Loaded { policy, folder: self.folder, warnings }),
            Err((sources, found)) => Err(Failure::new(sources, found)),
        }
    }
}

impl Loaded {
    /// Says what the policy's author should know.
    pub(crate) fn say_warnings(&self, world: &mut World) {
        if !self.warnings.is_empty() {
            let text = faults::render(&self.warnings, &self.policy.sources, world.err_style());
            world.say(&text);
        }
    }
}

/// Reads the files of the policy that was named, or of the one that is here.
pub(crate) fn read(named: Option<&Path>, world: &World) -> Result<Texts, Failure> {
    match named {
        Some(path) => read_at(path, world),
        None => read_at(&find(world).ok_or_else(none_here)?, world),
    }
}

/// Reads and understands the policy. Its warnings are said.
pub(crate) fn load(named: Option<&Path>, world: &mut World) -> Result<Loaded, Failure> {
    let loaded = read(named, world)?.parse()?;
    loaded.say_warnings(world);
    Ok(loaded)
}

/// The policy of this folder, where there is one.
pub(crate) fn find(world: &World) -> Option<PathBuf> {
    DEFAULTS.into_iter().map(PathBuf::from).find(|path| world.cwd.join(path).exists())
}

fn none_here() -> Failure {
    let missing = "there is neither rolecall.toml nor rolecall/ here";
    Failure::of(Diagnostic::error(missing).hint("name the policy: a TOML file, or a folder of them"))
}

fn read_at(path: &Path, world: &World) -> Result<Texts, Failure> {
    let at = world.cwd.join(path);
    let files = if at.is_dir() { files_of(path, &at)? } else { vec![path.to_owned()] };
    let folder = if at.is_dir() { at } else { at.parent().map(Path::to_owned).unwrap_or_default() };
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        let bytes = std::fs::read(world.cwd.join(&file)).map_err(|error| unreadable(&file, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| not_text(&file, &error))?;
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        texts.push((shown(&file), text));
    }
    Ok(Texts { files: texts, folder })
}

/// With slashes on every system, as links in a pull request have them.
fn shown(path: &Path) -> String {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
        .replacen("//", "/", 1)
}

/// The folder's own .toml files by name, hidden ones left out.
fn files_of(path: &Path, at: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(at).map_err(|error| unreadable(path, &error))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unreadable(path, &error))?.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        let file = path.join(&name);
        if !hidden && file.extension().is_some_and(|end| end == "toml") && at.join(&name).is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let error = Diagnostic::error(format!("the folder {} has no .toml file", path.display()));
        return Err(Failure::of(
            error.hint("a policy is a TOML file, or a folder of them; folders within are not read"),
        ));
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let name = path.display();
    let (what, hint) = match error.kind() {
        io::ErrorKind::NotFound => (format!("there is no policy {name}"), "name a TOML file, or a folder of them"),
        io::ErrorKind::PermissionDenied => (format!("the policy {name} may not be read"), "see the file's permissions"),
        _ => (format!("the policy {name} cannot be read: {error}"), "name a TOML file, or a folder of them"),
    };
    Failure::of(Diagnostic::error(what).hint(hint))
}

fn not_text(path: &Path, error: &std::string::FromUtf8Error) -> Failure {
    let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
    let line = good.filter(|byte| **byte == b'\n').count() + 1;
    let error = format!("{} is not text: line {line} is not UTF-8", path.display());
    Failure::of(Diagnostic::error(error).hint("save the file as UTF-8"))
}
