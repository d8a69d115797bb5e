//! `rolecall whoami`: the IAM identity of the caller, the user that the cluster makes of it, and what it may do.

use super::args::{OutputFormat, WhoamiArgs};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::{find_policy, load_policy};
use super::print_json;
use super::target::resolve_targets;
use crate::access::{EntryPlace, EntryRef, Request};
use crate::cluster::UserInfo;
use crate::ops::{CallerReport, CommandError, EntryOrigin, whoami};
use crate::render::terminal_text::TerminalText;
use crate::render::text_util::escape_control;
use crate::report::{IamIdentityJson, MappedByJson, UserInfoJson, WhoamiClusterJson, WhoamiDocument};
use crate::state::auth_mode::ClusterAuthMode;

pub(crate) fn run(args: &WhoamiArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let path = args.target.policy.clone().or_else(|| find_policy(env));
    let loaded = path.map(|path| load_policy(Some(&path), env)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let context = env.ops_context();
    let targets = resolve_targets(clusters, &args.target.connection, &context)?;
    let answers = whoami(&targets, &context)?;
    match args.format {
        OutputFormat::Json => {
            print_json(&WhoamiDocument::new(answers.into_iter().map(to_json).collect()), env)?;
        }
        OutputFormat::Text => {
            for answer in &answers {
                env.print_text(&format_caller(answer));
            }
        }
    }
    Ok(Exit::Success)
}

fn to_json(report: CallerReport) -> WhoamiClusterJson {
    let CallerReport { label, iam, user, entry, auth_mode, denied_for_plan, denied_for_apply } = report;
    let iam_identity = iam.map(|iam| IamIdentityJson {
        canonical_arn: iam.canonical_arn(),
        session: iam.session_name().map(str::to_owned),
        account: iam.account.to_string(),
        arn: iam.arn,
        user_id: iam.user_id,
    });
    let texts = |requests: Vec<Request>| requests.iter().map(ToString::to_string).collect();
    WhoamiClusterJson {
        cluster: label,
        iam_identity,
        user_info: user.map(|UserInfo { username, groups, uid: _, extra }| UserInfoJson { username, groups, extra }),
        mapped_by: match entry {
            EntryOrigin::Entry(EntryRef { place: EntryPlace::AwsAuth { section, index: _, line }, principal }) => {
                MappedByJson::AwsAuth { section: section.key(), principal, line }
            }
            EntryOrigin::Entry(EntryRef { place: EntryPlace::AccessEntry, principal }) => {
                MappedByJson::AccessEntry { principal }
            }
            EntryOrigin::NoEntry => MappedByJson::NoEntry,
            EntryOrigin::Unknown => MappedByJson::Unknown,
            EntryOrigin::NotIam => MappedByJson::NotIam,
        },
        authentication_mode: auth_mode.map(|mode| mode.as_str().to_owned()),
        denied_for_plan: denied_for_plan.map(texts),
        denied_for_apply: denied_for_apply.map(texts),
    }
}

fn format_caller(report: &CallerReport) -> TerminalText {
    let CallerReport { label, iam, user, entry, auth_mode, denied_for_plan, denied_for_apply } = report;
    let mut out = TerminalText::from_line(label);
    let Some(UserInfo { username, groups, uid: _, extra }) = user else {
        out.line("  no user: a snapshot has no caller");
        if let Some(mode) = auth_mode {
            out.line(&format!("  {:<12}  {}", "mode", escape_control(mode.as_str())));
        }
        return out;
    };
    let mut line = |name: &str, value: &str| out.line(&format!("  {name:<12}  {}", escape_control(value)));
    line("username", username);
    line("groups", &groups.join(", "));
    match iam {
        Some(iam) => {
            line("canonicalArn", &iam.canonical_arn().unwrap_or_default());
            line("arn", &iam.arn);
            line("account", &iam.account.to_string());
            if let Some(session) = iam.session_name() {
                line("session", session);
            }
        }
        None => {
            for name in ["canonicalArn", "arn"] {
                if let Some(values) = extra.get(name) {
                    line(name, &values.join(", "));
                }
            }
        }
    }
    match entry {
        EntryOrigin::Entry(entry) => {
            line("mapped by", &entry.to_string());
        }
        EntryOrigin::NoEntry => {
            let text = match auth_mode {
                Some(ClusterAuthMode::Api | ClusterAuthMode::ApiAndConfigMap) => "no entry",
                Some(ClusterAuthMode::ConfigMap) => "no entry of aws-auth: the creator of the cluster",
                Some(ClusterAuthMode::Other(_)) | None => {
                    "no entry of aws-auth: the creator of the cluster, or an access entry that is not known"
                }
            };
            line("mapped by", text);
        }
        EntryOrigin::Unknown => {
            line("mapped by", "unknown: you may not read aws-auth or the access entries, or several entries match");
        }
        EntryOrigin::NotIam => {}
    }
    if let Some(mode) = auth_mode {
        line("mode", mode.as_str());
    }
    line("may plan", &permission_text(denied_for_plan.as_deref()));
    line("may apply", &permission_text(denied_for_apply.as_deref()));
    out
}

/// `no: denied to patch configmaps named aws-auth in kube-system, and 3 more`.
fn permission_text(denied: Option<&[Request]>) -> String {
    match denied {
        None => "unknown: the cluster does not answer access reviews".to_owned(),
        Some([]) => "yes".to_owned(),
        Some([first]) => format!("no: denied to {first}"),
        Some([first, others @ ..]) => format!("no: denied to {first}, and {} more", others.len()),
    }
}
