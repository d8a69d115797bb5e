//! Writes the results of commands to files.
//!
//! A regular file is replaced atomically: a temporary file with a random name, which only its owner can read, is written
//! in the same directory, synced and renamed. A full disk or a kill leaves the old file. A link is followed to its
//! target. An existing file keeps its mode; a new plan, snapshot or backup gets the mode 0600, because it shows who has
//! access to what, and a new file of metrics 0644. Devices and pipes are written directly.

#![expect(clippy::disallowed_methods, reason = "the only module that writes files")]

use std::fs::{self, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::input_files::InputFiles;

/// The path that means stdout.
const STDOUT: &str = "-";
/// The maximum number of links that are followed, as in the Linux kernel.
const MAX_LINKS: usize = 40;
/// A file is recognized by this many of its first bytes.
const HEAD_BYTES: u64 = 4096;

/// What a command writes to a file. Only a file of the same kind, or an empty file, is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    Plan,
    Snapshot,
    /// The signature of a plan.
    Signature,
    /// Lines of JSON, which are appended.
    Events,
    /// Metrics of Prometheus.
    Metrics,
    /// A man page.
    ManPage,
    /// A policy.
    Policy,
}

impl OutputKind {
    /// Returns whether the text starts like a file that rolecall has written. The beginning is enough, since the check
    /// prevents mistakes: a plan is read completely before it is applied.
    fn is_written_by_rolecall(self, head: &str) -> bool {
        let head = head.trim_start();
        let is_json_with = |key: &str| head.starts_with('{') && head.contains(key);
        match self {
            Self::Plan => is_json_with("\"format-version\""),
            // A saved plan has its keys on lines of their own.
            Self::Events => head.starts_with("{\"format-version\":"),
            Self::Signature => head.starts_with("-----BEGIN SSH SIGNATURE-----"),
            Self::Metrics => head.starts_with("# HELP rolecall_"),
            Self::ManPage => head.contains("\n.TH rolecall"),
            Self::Policy => head.contains("[policy]"),
            Self::Snapshot => {
                head.starts_with("# rolecall snapshot, taken ")
                    || is_json_with("\"kind\": \"List\"")
                    || is_json_with("\"kind\":\"List\"")
            }
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Plan => "a saved plan",
            Self::Snapshot => "a snapshot of rolecall",
            Self::Signature => "a signature",
            Self::Events => "a file of events",
            Self::Metrics => "a file of rolecall's metrics",
            Self::ManPage => "a man page of rolecall",
            Self::Policy => "a policy",
        }
    }
}

/// Why a file was not written. The target is unchanged.
#[derive(Debug, Error)]
pub(crate) enum OutputError {
    /// What the file is to the command, such as `the policy`.
    #[error("it is {0}, which this command reads")]
    IsInput(&'static str),
    #[error("the file exists and is not {}", .0.description())]
    OtherKind(OutputKind),
    #[error("it is a directory")]
    Directory,
    #[error("it is a device or a pipe, which has no content to replace")]
    NotRegular,
    #[error("its links form a cycle")]
    LinkCycle,
    #[error("the disk is full")]
    DiskFull,
    #[error("the directory does not exist")]
    NoDirectory,
    #[error("permission denied")]
    PermissionDenied,
    #[error("{0}")]
    Io(io::Error),
}

impl OutputError {
    /// What the user can do about it.
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Self::IsInput(_) | Self::OtherKind(_) => "choose the name of a file that does not exist",
            Self::Directory => "name a file in the directory",
            Self::NotRegular => "name a file",
            Self::LinkCycle => "remove the links, or choose another name",
            Self::DiskFull => "free some space, or write to another disk; an existing file is unchanged",
            Self::NoDirectory => "create the directory, or choose another one",
            Self::PermissionDenied | Self::Io(_) => {
                "check that the directory exists and that you can write to it; an existing file is unchanged"
            }
        }
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A limit on the size of files, as `ulimit -f` sets it, has the same effect as a full disk.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::DiskFull,
            io::ErrorKind::NotFound => Self::NoDirectory,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::PermissionDenied,
            _ => Self::Io(error),
        }
    }
}

/// Returns whether `--out` means stdout.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new(STDOUT)
}

/// Writes the result of a command. `path` is absolute.
///
/// # Errors
/// If the target is an input of the command or a file of another kind, or if it cannot be written.
pub(crate) fn write_output(path: &Path, text: &str, kind: OutputKind, inputs: &InputFiles) -> Result<(), OutputError> {
    if let Some(special) = special_file(path)? {
        return write_directly(&special, text);
    }
    let target = follow_links(path)?;
    if let Some(role) = inputs.role(&target) {
        return Err(OutputError::IsInput(role));
    }
    let existing = existing_file(&target)?;
    if existing.is_some() && !may_overwrite(&target, kind)? {
        return Err(OutputError::OtherKind(kind));
    }
    replace(&target, text, existing.as_ref(), kind)
}

/// Opens a file that lines of JSON are appended to. `path` is absolute. A new file can be read only by its owner.
///
/// # Errors
/// If it is an input of the command or another file, or if it cannot be opened.
pub(crate) fn open_for_append(path: &Path, inputs: &InputFiles) -> Result<fs::File, OutputError> {
    let mut options = fs::OpenOptions::new();
    options.append(true);
    if let Some(special) = special_file(path)? {
        return Ok(options.open(special)?);
    }
    let target = follow_links(path)?;
    if let Some(role) = inputs.role(&target) {
        return Err(OutputError::IsInput(role));
    }
    if existing_file(&target)?.is_some() && !may_overwrite(&target, OutputKind::Events)? {
        return Err(OutputError::OtherKind(OutputKind::Events));
    }
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(&target)?)
}

/// Replaces a file that the command has read with its new content, such as a snapshot that is applied to.
///
/// # Errors
/// If it cannot be written. The file then has its old content.
pub(crate) fn replace_input(path: &Path, text: &str) -> Result<(), OutputError> {
    let target = follow_links(path)?;
    let existing = existing_file(&target)?;
    replace(&target, text, existing.as_ref(), OutputKind::Snapshot)
}

/// Writes a new file `STEM.yaml` that only its owner can read, and returns its path. Adds a number to the name if it is
/// taken. A missing directory is created, also only for its owner.
///
/// # Errors
/// If it cannot be written. No file is left.
pub(crate) fn create_numbered_file(folder: &Path, stem: &str, text: &str) -> Result<PathBuf, OutputError> {
    create_private_folder(folder)?;
    let mut number = 1;
    loop {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{stem}{suffix}.yaml"));
        match write_temporary(folder, text, None)?.persist_noclobber(&path) {
            Ok(_) => {
                sync_folder(folder);
                return Ok(path);
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error.error.into()),
        }
    }
}

/// Adds a text to the end of a file that other programs also write to, and creates it if it does not exist. `text` gets the
/// number of bytes that are left until the file has `max` bytes, and returns `None` if that is too little. Returns whether
/// it was written.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn append_within(
    path: &Path,
    max: usize,
    text: impl FnOnce(usize) -> Option<String>,
) -> Result<bool, OutputError> {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let Some(text) = text(max.saturating_sub(size)) else {
        return Ok(false);
    };
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(true)
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Returns the path to open if the file is a device or a pipe. A name such as `/dev/stdout` can lead to a regular file,
/// which the caller of rolecall has opened and which must not be replaced.
fn special_file(path: &Path) -> Result<Option<PathBuf>, OutputError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if metadata.is_dir() {
        return Err(OutputError::Directory);
    }
    let is_device = |path: &Path| path.starts_with("/dev") && !path.starts_with("/dev/shm");
    let mut link = path.to_owned();
    for _ in 0..MAX_LINKS {
        if is_device(&link) || link.starts_with("/proc") {
            return Ok(Some(path.to_owned()));
        }
        let Ok(next) = fs::read_link(&link) else {
            break;
        };
        link = link.parent().unwrap_or(Path::new("")).join(next);
    }
    Ok((!metadata.is_file()).then(|| path.to_owned()))
}

fn write_directly(path: &Path, text: &str) -> Result<(), OutputError> {
    // Appending keeps what is already in a file behind `/dev/stdout`.
    let mut file = fs::OpenOptions::new().append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.flush()?)
}

/// Returns the file that a path leads to. It need not exist.
fn follow_links(path: &Path) -> Result<PathBuf, OutputError> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            Ok(next) => target = target.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(target),
        }
    }
    Err(OutputError::LinkCycle)
}

fn existing_file(target: &Path) -> Result<Option<Metadata>, OutputError> {
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => Err(OutputError::Directory),
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn may_overwrite(target: &Path, kind: OutputKind) -> Result<bool, OutputError> {
    let mut head = Vec::new();
    fs::File::open(target)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head.is_empty() || kind.is_written_by_rolecall(&String::from_utf8_lossy(&head)))
}

fn replace(target: &Path, text: &str, existing: Option<&Metadata>, kind: OutputKind) -> Result<(), OutputError> {
    if existing.is_some_and(|metadata| !metadata.is_file()) {
        return Err(OutputError::NotRegular);
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = write_temporary(folder, text, existing)?;
    #[cfg(unix)]
    if existing.is_none() && matches!(kind, OutputKind::Metrics | OutputKind::ManPage) {
        // Other users read them: the collector of metrics, and `man`.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        temporary.as_file().set_permissions(mode)?;
    }
    #[cfg(not(unix))]
    let _ = kind;
    temporary.persist(target).map_err(|error| error.error)?;
    sync_folder(folder);
    Ok(())
}

/// Writes the text to a temporary file, which is deleted if it is not renamed.
fn write_temporary(
    folder: &Path,
    text: &str,
    existing: Option<&Metadata>,
) -> Result<tempfile::NamedTempFile, OutputError> {
    // The builder creates the file with O_EXCL, a random name and the mode 0600.
    let mut temporary = tempfile::Builder::new().prefix(".rolecall-").tempfile_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    if let Some(existing) = existing {
        keep_owner(temporary.as_file(), existing);
        temporary.as_file().set_permissions(existing.permissions())?;
    }
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

/// Gives the file the owner of the file that it replaces. Only root can do that, and for other users the owner changes
/// to the user that runs rolecall, as with every editor.
fn keep_owner(file: &fs::File, existing: &Metadata) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let _ = fchown(file, Some(existing.uid()), Some(existing.gid()));
    }
    #[cfg(not(unix))]
    let _ = (file, existing);
}

/// Makes the rename durable. Some file systems do not support it, and the file is complete in any case.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}
