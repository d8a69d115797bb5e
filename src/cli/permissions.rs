//! `rolecall permissions`: the roles for whoever runs the others, and what the caller lacks of them.

use super::args::{OutputFormat, PermissionsArgs, RoleWriteMethod, RunnerCommand};
use super::cluster_plan::after_state_error;
use super::command_error::CommandError;
use super::env::Env;
use super::exit::Exit;
use super::missing_permissions::{denied_requests, describe_missing_permission};
use super::policy_files::{LoadedPolicy, find_policy, load_policy};
use super::print_json;
use super::target::{ConnectedCluster, TargetCluster, resolve_targets};
use crate::access::SubjectQuery;
use crate::cluster::ReadCluster as _;
use crate::diagnostic::Diagnostic;
use crate::names::path_segment_error;
use crate::permissions::{ApplyUser, MinimalRoles, RoleWritePermission};
use crate::plan;
use crate::policy::expand::expand;
use crate::render::text_util::{escape_control, pluralize};
use crate::report::{
    CommandJson, MissingPermissionJson, ObjectListDocument, PermissionsCheckJson, PermissionsDocument,
};
use crate::state::State;
use crate::state::rbac::Subject;
use crate::yaml::to_yaml;

pub(crate) async fn run(args: &PermissionsArgs, world: &mut Env) -> Result<Exit, CommandError> {
    let subject = parse_subject(&args.subject)?;
    if let Some(fault) = path_segment_error(&args.name) {
        return Err(CommandError::from_diagnostic(Diagnostic::error(format!(
            "`--name {}` names no role: {fault}",
            args.name
        ))));
    }
    if args.for_command == RunnerCommand::Plan && !args.check {
        print_roles(args, "every cluster", &MinimalRoles::for_plan(), &subject, world)?;
        return Ok(Exit::Success);
    }
    let named = args.target.policy.clone().or_else(|| find_policy(world));
    let loaded = named.map(|path| load_policy(Some(&path), world)).transpose()?;
    let (target, opened, state) = observe_cluster(args, loaded.as_ref(), world).await?;
    let least = match (args.for_command, &loaded) {
        (RunnerCommand::Plan, _) => MinimalRoles::for_plan(),
        (RunnerCommand::Apply, Some(loaded)) => roles_for_apply(loaded, &target, &state, world)?,
        (RunnerCommand::Apply, None) => {
            let error = Diagnostic::error("what apply needs is a policy's, and there is none here");
            return Err(CommandError::from_diagnostic(error.with_help("name the policy, or say --for plan")));
        }
    };
    if args.check {
        return check_caller(args, &least, &opened, &state, world).await;
    }
    print_roles(args, &opened.label, &least, &subject, world)?;
    Ok(Exit::Success)
}

/// The one cluster that is meant.
async fn observe_cluster(
    args: &PermissionsArgs,
    loaded: Option<&LoadedPolicy>,
    world: &Env,
) -> Result<(TargetCluster, ConnectedCluster, State), CommandError> {
    let clusters = loaded.map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let mut found = resolve_targets(clusters, &args.target.connection, world)?;
    let (Some(target), true) = (found.pop(), found.is_empty()) else {
        let error = Diagnostic::error("permissions are of one cluster, and the policy has several");
        return Err(CommandError::from_diagnostic(error.with_help("add --cluster NAME")));
    };
    let opened = target.connect().await?;
    // What may not be read is what a check is for.
    let state = match opened.cluster.observe().await {
        Ok(state) => state,
        Err(_) if args.check && args.for_command == RunnerCommand::Plan => State::default(),
        Err(error) => return Err(error.into()),
    };
    Ok((target, opened, state))
}

fn roles_for_apply(
    loaded: &LoadedPolicy,
    target: &TargetCluster,
    state: &State,
    world: &Env,
) -> Result<MinimalRoles, CommandError> {
    let (policy, name) = (&loaded.policy, target.name.as_deref());
    let failed = |found| CommandError::new(policy.sources.clone(), found);
    let (desired, _) = expand(policy, name, state, world.now).map_err(failed)?;
    let plan = plan::plan(policy, name, state, world.now).map_err(failed)?;
    MinimalRoles::for_apply(&desired, state, &plan).map_err(|fault| after_state_error(&fault))
}

fn parse_subject(text: &str) -> Result<Subject, CommandError> {
    Ok(match SubjectQuery::parse(text) {
        Ok(SubjectQuery::Group(name)) => Subject::Group(name),
        Ok(SubjectQuery::User(name)) => Subject::User(name),
        Ok(SubjectQuery::ServiceAccount { namespace, name }) => Subject::ServiceAccount { namespace, name },
        Ok(SubjectQuery::Arn(_) | SubjectQuery::Account(_)) | Err(_) => {
            let error = Diagnostic::error(format!("`--subject {text}` is none that a binding can name"));
            return Err(CommandError::from_diagnostic(
                error.with_help("write group:NAME, user:NAME or sa:NAMESPACE/NAME"),
            ));
        }
    })
}

fn print_roles(
    args: &PermissionsArgs,
    label: &str,
    least: &MinimalRoles,
    subject: &Subject,
    world: &mut Env,
) -> Result<(), CommandError> {
    let with = match args.with {
        RoleWriteMethod::Rules => RoleWritePermission::HoldRules,
        RoleWriteMethod::Escalate => RoleWritePermission::Escalate,
    };
    let objects = least.to_manifests(&args.name, with, subject);
    match args.format {
        OutputFormat::Json => {
            print_json(&ObjectListDocument::new(&objects), world)?;
        }
        OutputFormat::Text => {
            let texts: Vec<String> = objects.iter().map(to_yaml).collect();
            world.print(&format!("{}{}", header_comment(args, label), texts.join("---\n")));
        }
    }
    Ok(())
}

/// What the reader has to know before he applies it.
fn header_comment(args: &PermissionsArgs, label: &str) -> String {
    let label = escape_control(label);
    if args.for_command == RunnerCommand::Plan {
        return format!("# What `rolecall plan` needs on {label}. Nothing of it writes.\n");
    }
    let how = match args.with {
        RoleWriteMethod::Rules => {
            "# It holds the rules that the policy gives, since the API server lets nobody write into a role what he does\n\
             # not hold: a policy that gives more is refused until this is printed and applied anew.\n"
        }
        RoleWriteMethod::Escalate => {
            "# It may write any rule into a role: `escalate` cannot be limited by name where a role is created.\n"
        }
    };
    format!(
        "# What `rolecall apply` needs on {label}, limited to the names of the policy and of what it owns there.\n{how}\
         # Whoever may write aws-auth can make himself system:masters: guard this runner as you guard an admin.\n"
    )
}

async fn check_caller(
    args: &PermissionsArgs,
    least: &MinimalRoles,
    opened: &ConnectedCluster,
    state: &State,
    world: &mut Env,
) -> Result<Exit, CommandError> {
    let Some(caller) = opened.cluster.whoami().await? else {
        let error = Diagnostic::error("a snapshot has no caller who could lack something");
        return Err(CommandError::from_diagnostic(error.with_help("ask a live cluster, or leave --check out")));
    };
    let runner = ApplyUser { username: caller.username.clone(), groups: caller.groups };
    let mut lacks = least.missing_permissions(state, &runner);
    let requests: Vec<_> = lacks.iter().map(|lack| lack.request.clone()).collect();
    let denied = denied_requests(&opened.cluster, &requests).await?.unwrap_or_default();
    lacks.retain(|lack| denied.contains(&lack.request));
    let command = match args.for_command {
        RunnerCommand::Plan => "plan",
        RunnerCommand::Apply => "apply",
    };
    match args.format {
        OutputFormat::Json => {
            let check = PermissionsCheckJson {
                cluster: opened.label.clone(),
                command: match args.for_command {
                    RunnerCommand::Plan => CommandJson::Plan,
                    RunnerCommand::Apply => CommandJson::Apply,
                },
                missing: lacks.iter().map(MissingPermissionJson::from).collect(),
            };
            print_json(&PermissionsDocument::new(vec![check]), world)?;
        }
        OutputFormat::Text => {
            let (label, who) = (escape_control(&opened.label), escape_control(&caller.username));
            if lacks.is_empty() {
                world.print_wrapped(&format!("{label}: `{who}` has all that {command} needs\n"));
            } else {
                let number = pluralize(lacks.len(), "right");
                world.print_wrapped(&format!("{label}: `{who}` lacks {number} that {command} needs\n"));
            }
            for lack in &lacks {
                world.print_wrapped(&format!("  {}\n", escape_control(&describe_missing_permission(lack))));
            }
        }
    }
    Ok(if lacks.is_empty() { Exit::Success } else { Exit::Failed })
}
