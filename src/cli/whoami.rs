//! `rolecall whoami`: the user that the cluster authenticates the caller as.

use super::args::{OutputFormat, WhoamiArgs};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::{find_policy, load_policy};
use super::print_json;
use super::target::resolve_targets;
use crate::cluster::UserInfo;
use crate::ops::{CommandError, whoami};
use crate::render::terminal_text::TerminalText;
use crate::render::text_util::escape_control;
use crate::report::{UserInfoJson, WhoamiClusterJson, WhoamiDocument};

pub(crate) fn run(args: &WhoamiArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let path = args.target.policy.clone().or_else(|| find_policy(env));
    let loaded = path.map(|path| load_policy(Some(&path), env)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let context = env.ops_context();
    let targets = resolve_targets(clusters, &args.target.connection, &context)?;
    let answers = whoami(&targets, &context)?;
    match args.format {
        OutputFormat::Json => {
            let user_info = |UserInfo { username, groups, uid: _, extra }| UserInfoJson { username, groups, extra };
            let clusters = answers
                .into_iter()
                .map(|(cluster, caller)| WhoamiClusterJson { cluster, user_info: caller.map(user_info) });
            print_json(&WhoamiDocument::new(clusters.collect()), env)?;
        }
        OutputFormat::Text => {
            for (label, caller) in &answers {
                env.print_text(&format_user(label, caller.as_ref()));
            }
        }
    }
    Ok(Exit::Success)
}

fn format_user(label: &str, caller: Option<&UserInfo>) -> TerminalText {
    let mut out = TerminalText::from_line(label);
    let Some(UserInfo { username, groups, uid: _, extra }) = caller else {
        out.line("  no user: a snapshot has no caller");
        return out;
    };
    out.line(&format!("  username  {}", escape_control(username)));
    out.line(&format!("  groups    {}", escape_control(&groups.join(", "))));
    for name in ["canonicalArn", "arn"] {
        if let Some(values) = extra.get(name) {
            out.line(&format!("  {name:<8}  {}", escape_control(&values.join(", "))));
        }
    }
    out
}
