//! The files of a command: which files it has read, and how it writes its results.
//!
//! Every file that rolecall writes is written by [`output_file`]. `clippy.toml` forbids the functions of the standard
//! library that create, rename or delete files elsewhere.

mod containment;
mod input_files;
mod output_file;
#[cfg(test)]
mod tests;

pub(crate) use containment::{ContainmentError, contained_file};
pub(crate) use input_files::InputFiles;
pub(crate) use output_file::{
    OutputKind, append_within, create_numbered_file, is_stdout, open_for_append, replace_input, write_output,
};
