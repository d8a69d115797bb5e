//! Generates `docs/reference/commands.md` from the command line definition, and checks that every `rolecall` command in
//! the documents and in the help is valid.
//!
//! `BLESS=1 cargo test --lib cli::reference` rewrites the generated part.

#![expect(
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "tests read the documents of the repository"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _, Parser as _};

use super::args::CommandLine;

const BEGIN: &str = "<!-- generated: BLESS=1 cargo test --lib cli::reference -->\n";
const END: &str = "<!-- end of the generated part -->\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Escapes placeholders such as `<FILE>`, which Markdown reads as HTML.
fn prose(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().replace('<', "&lt;").replace('|', "\\|")
}

/// Returns a text for a table cell, in which a new paragraph is a line break.
fn cell(text: &str) -> String {
    text.trim().replace("\n\n", "<br>").replace('\n', " ")
}

/// `-n`, `--namespace <NAME>`, or `[POLICY]`.
fn name(arg: &Arg) -> String {
    let values: Vec<String> =
        arg.get_value_names().unwrap_or_default().iter().map(|value| format!("<{value}>")).collect();
    let takes_value = arg.get_action().takes_values();
    let value = if takes_value { values.join(" ") } else { String::new() };
    let Some(long) = arg.get_long() else {
        let value = value.trim_start_matches('<').trim_end_matches('>').to_owned();
        return if arg.is_required_set() { format!("`<{value}>`") } else { format!("`[{value}]`") };
    };
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let aliases: String =
        arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!(", `--{alias}`")).collect();
    format!("{short}`{}`{aliases}", format!("--{long} {value}").trim_end())
}

/// Returns the help of an argument, with its default, its values and its variable.
fn description(arg: &Arg) -> String {
    let mut out = cell(&prose(arg.get_long_help().or(arg.get_help())));
    let sentence = |text: String, out: &mut String| {
        if !out.is_empty() {
            out.push_str(if out.ends_with(['.', ']', ':']) { " " } else { ". " });
        }
        out.push_str(&text);
    };
    if arg.get_action().takes_values() && !arg.is_hide_possible_values_set() {
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| match value.get_help() {
                Some(help) => format!("`{}`: {}", value.get_name(), cell(&prose(Some(help)))),
                None => format!("`{}`", value.get_name()),
            })
            .collect();
        if !values.is_empty() {
            sentence(format!("Values: {}.", values.join("; ")), &mut out);
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        if !defaults.is_empty() {
            sentence(format!("Default: {}.", defaults.join(", ")), &mut out);
        }
    }
    if let Some(variable) = arg.get_env() {
        sentence(format!("Environment variable: `{}`.", variable.to_string_lossy()), &mut out);
    }
    out
}

fn table(heading: &str, args: &[&Arg], out: &mut String) {
    if args.is_empty() {
        return;
    }
    out.push_str(&format!("| {heading} | Description |\n| --- | --- |\n"));
    for arg in args {
        out.push_str(&format!("| {} | {} |\n", name(arg), description(arg)));
    }
    out.push('\n');
}

/// Returns the arguments that `--help` shows, apart from the help and version flags.
fn shown<'a>(args: impl Iterator<Item = &'a Arg>) -> Vec<&'a Arg> {
    args.filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())).collect()
}

/// Returns the options of one command in the order of `--help`, without those that every command has.
fn options(command: &Command) -> Vec<&Arg> {
    shown(command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_global_set()))
}

fn section(command: &mut Command, out: &mut String) {
    out.push_str(&format!("## {}\n\n", command.get_name()));
    out.push_str(&format!("{}\n\n", prose(command.get_long_about().or(command.get_about()))));
    let usage = command.render_usage().to_string();
    out.push_str(&format!("```text\n{}\n```\n\n", usage.trim_start_matches("Usage: ").trim()));
    table("Argument", &shown(command.get_positionals()), out);
    table("Option", &options(command), out);
    out.push_str(&after_help(command));
}

/// Returns the exit codes and examples of a command, as code blocks.
fn after_help(command: &Command) -> String {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut out = String::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let (heading, lines) = block.split_once('\n').unwrap();
        let language = if heading == "Examples:" { "sh" } else { "text" };
        let lines: Vec<&str> = lines.lines().map(|line| line.strip_prefix("  ").unwrap()).collect();
        out.push_str(&format!("{heading}\n\n```{language}\n{}\n```\n\n", lines.join("\n")));
    }
    out
}

/// Returns all commands in the order of `--help`.
fn commands() -> String {
    let mut all = CommandLine::command();
    all.build();
    let mut out = String::new();
    for command in all.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        section(command, &mut out);
    }
    let global = shown(all.get_arguments().filter(|arg| arg.is_global_set()));
    if !global.is_empty() {
        out.push_str("## Options of every command\n\n");
        table("Option", &global, &mut out);
    }
    out
}

#[test]
fn command_reference_is_up_to_date() {
    let path = root().join("docs/reference/commands.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}\n{}{END}{after}", commands());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == expected, "`BLESS=1 cargo test --lib cli::reference` rewrites {}", path.display());
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|end| end == "md" || end == "yml" || end == "sh") {
            found.push(path);
        }
    }
}

/// Returns the words of a simple shell command, up to a pipe, a redirection or a comment.
fn words(command: &str) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut rest = command.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix(['"', '\'']).zip(rest.chars().next()) {
            Some((quoted, quote)) => quoted.split_once(quote).unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        let ends = ["|", "||", "&&", ">", "2>&1", "#", ";"];
        if ends.contains(&word) || word.starts_with('>') {
            break;
        }
        // The content of a shell array is not known.
        if !word.starts_with("${") {
            out.push(OsString::from(word.trim_end_matches([')', ';'])));
        }
        rest = after.trim_start();
    }
    out
}

/// Returns the `rolecall` commands in shell blocks, scripts and workflows.
fn shell_commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut is_shell = !text.contains("```");
    let mut out = Vec::new();
    for line in joined.lines() {
        if line.starts_with("```") {
            is_shell = !is_shell && ["```sh", "```console", "```yaml"].contains(&line.trim_end());
            continue;
        }
        let line = line.trim_start().trim_start_matches("$ ").trim_start_matches("- ").trim_start_matches("run: ");
        let Some(at) = is_shell.then(|| line.find("rolecall ")).flatten() else { continue };
        let starts_command =
            at == 0 || line.get(..at).is_some_and(|before| before.ends_with("$(") || before.ends_with("* "));
        if starts_command {
            out.extend(line.get(at..).map(str::to_owned));
        }
    }
    out
}

#[test]
fn commands_in_the_documents_are_valid() {
    let mut files = vec![root().join("README.md")];
    collect(&root().join("docs"), &mut files);
    collect(&root().join("examples"), &mut files);
    let mut seen = 0;
    for path in files {
        for command in shell_commands(&std::fs::read_to_string(&path).unwrap()) {
            seen += 1;
            if let Err(error) = CommandLine::try_parse_from(words(&command)) {
                let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                assert!(is_help, "{}: {command}\n{error}", path.display());
            }
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}
