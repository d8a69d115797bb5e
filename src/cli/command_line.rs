//! Parses the command line with clap. Environment variables are the defaults of their arguments, and the tips of clap
//! are replaced where they do not fit.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::builder::{Resettable, StyledStr};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ColorChoice, CommandFactory as _, FromArgMatches as _, ValueEnum as _};

use super::args::CommandLine;
use super::env::Env;
use crate::diagnostic::closest_match;

/// The maximum width of the help, and its width if that of the terminal is not known.
const HELP_WIDTH: usize = 100;

/// Commands of other tools and synonyms, with the command of rolecall for the same task.
const EQUIVALENT_COMMANDS: [(&str, &str); 28] = [
    ("auth", "can"),
    ("can-i", "can"),
    ("check", "validate"),
    ("compare", "plan"),
    ("completion", "completions"),
    ("deploy", "apply"),
    ("diff", "plan"),
    ("dry-run", "plan"),
    ("dump", "snapshot"),
    ("export", "snapshot"),
    ("get", "access"),
    ("lint", "validate"),
    ("list", "access"),
    ("login", "whoami"),
    ("ls", "access"),
    ("preview", "plan"),
    ("rbac", "permissions"),
    ("requirements", "permissions"),
    ("revert", "restore"),
    ("rights", "permissions"),
    ("rollback", "restore"),
    ("status", "drift"),
    ("sync", "apply"),
    ("undo", "restore"),
    ("up", "apply"),
    ("verify", "validate"),
    ("who", "who-can"),
    ("whocan", "who-can"),
];

/// Parses the command line.
///
/// # Errors
/// Wrong usage. clap returns the help and the version as errors too.
pub(super) fn parse(args: &[OsString], env: &Env) -> Result<CommandLine, clap::Error> {
    let width = env.out_width().map_or(HELP_WIDTH, |width| width.min(HELP_WIDTH));
    let mut command = with_environment(CommandLine::command(), &env.vars).term_width(width);
    let parsed = command.try_get_matches_from_mut(args);
    let typed = parsed.and_then(|mut matches| CommandLine::from_arg_matches_mut(&mut matches));
    typed.map_err(|error| with_fitting_tips(error, args, &command, &env.vars))
}

/// Returns the value of `--color`, also in an invalid command line, whose error message it applies to.
pub(super) fn color_in(args: &[OsString]) -> Option<ColorChoice> {
    let words: Vec<&str> = args.iter().filter_map(|word| word.to_str()).collect();
    let index = words.iter().position(|word| *word == "--color" || word.starts_with("--color="))?;
    let value = words.get(index)?.strip_prefix("--color=").or_else(|| words.get(index + 1).copied())?;
    ColorChoice::from_str(value, false).ok()
}

/// Sets the environment variables as the defaults of their arguments.
///
/// clap would read them from the process instead of [`Env`]. A default also never conflicts with a flag: `--snapshot FILE`
/// is allowed although ROLECALL_CONTEXT is set.
fn with_environment(command: clap::Command, env: &BTreeMap<String, String>) -> clap::Command {
    let command = command.mut_args(|arg| with_variable(arg, env));
    command.mut_subcommands(|subcommand| with_environment(subcommand, env))
}

fn with_variable(arg: Arg, env: &BTreeMap<String, String>) -> Arg {
    let Some(name) = env_variable(&arg) else {
        return arg;
    };
    let with_env_note = |help: Option<&StyledStr>| help.map(|help| format!("{help} [env: {name}]"));
    let (short, long) = (with_env_note(arg.get_help()), with_env_note(arg.get_long_help()));
    let has_default = !arg.get_default_values().is_empty();
    let mut arg = arg.env(Resettable::Reset);
    if let Some(short) = short {
        arg = arg.help(short);
    }
    if let Some(long) = long {
        arg = arg.long_help(long);
    }
    match env.get(&name).filter(|value| !value.is_empty()) {
        Some(value) => arg.default_value(value.clone()).hide_default_value(!has_default),
        None => arg,
    }
}

fn env_variable(arg: &Arg) -> Option<String> {
    arg.get_env().and_then(|name| name.to_str()).map(str::to_owned)
}

/// Replaces the tips of a usage error by tips that name the right command, flag or variable.
fn with_fitting_tips(
    mut error: clap::Error,
    args: &[OsString],
    command: &clap::Command,
    env: &BTreeMap<String, String>,
) -> clap::Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            error.remove(ContextKind::SuggestedSubcommand);
            error.remove(ContextKind::Suggested);
            let typed = as_text(&error, ContextKind::InvalidSubcommand);
            match EQUIVALENT_COMMANDS.iter().find(|(word, _)| *word == typed) {
                Some((_, equivalent)) => add_tip(&mut error, format!("use 'rolecall {equivalent}' instead")),
                None => {
                    let names = command.get_subcommands().map(clap::Command::get_name);
                    if let Some(nearest) = closest_match(&typed, names) {
                        let nearest = ContextValue::Strings(vec![nearest.to_owned()]);
                        error.insert(ContextKind::SuggestedSubcommand, nearest);
                    }
                }
            }
        }
        ErrorKind::UnknownArgument => {
            // clap suggests "use '-- --flag'", but no argument of rolecall starts with a dash.
            if let Some(ContextValue::StyledStrs(tips)) = error.remove(ContextKind::Suggested) {
                let tips: Vec<StyledStr> = tips.into_iter().filter(|tip| !tip.to_string().contains("-- ")).collect();
                if !tips.is_empty() {
                    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
                }
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = as_text(&error, ContextKind::InvalidValue);
            let argument = as_text(&error, ContextKind::InvalidArg);
            let was_typed = args.iter().any(|word| word.to_str().is_some_and(|word| word.ends_with(&value)));
            if let Some(name) = variables().into_iter().find(|name| !was_typed && env.get(name) == Some(&value)) {
                add_tip(&mut error, format!("the value comes from the environment variable {name}"));
            } else if argument.starts_with("--output ") && value.contains(['.', '/']) {
                add_tip(&mut error, "to write to a file, use '--out FILE'".to_owned());
            }
        }
        _ => {}
    }
    error
}

/// Returns the environment variables of all arguments.
fn variables() -> Vec<String> {
    fn add(command: &clap::Command, names: &mut Vec<String>) {
        names.extend(command.get_arguments().filter_map(env_variable));
        for subcommand in command.get_subcommands() {
            add(subcommand, names);
        }
    }
    let mut names = Vec::new();
    add(&CommandLine::command(), &mut names);
    names
}

fn as_text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}

fn add_tip(error: &mut clap::Error, tip: String) {
    let mut tips = match error.remove(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips,
        _ => Vec::new(),
    };
    tips.push(StyledStr::from(tip));
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_commands_exist_and_are_sorted() {
        let command = CommandLine::command();
        let is_command = |name: &str| command.get_subcommands().any(|known| known.get_name() == name);
        for (word, equivalent) in EQUIVALENT_COMMANDS {
            assert!(is_command(equivalent) && !is_command(word), "{word} {equivalent}");
        }
        assert!(EQUIVALENT_COMMANDS.is_sorted());
    }

    #[test]
    fn command_line_definition_is_valid() {
        CommandLine::command().debug_assert();
        let env = BTreeMap::from([("ROLECALL_CONTEXT".to_owned(), "prod".to_owned())]);
        with_environment(CommandLine::command(), &env).debug_assert();
    }
}
