//! `rolecall permissions`: the roles that rolecall needs to run, and which of their permissions the caller lacks.

use super::args::{OutputFormat, PermissionsArgs, RoleWriteMethod, RunnerCommand};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::{find_policy, load_policy};
use super::print_json;
use super::target::resolve_targets;
use crate::access::SubjectQuery;
use crate::cluster::kubeconfig::{ContextSelector, EksTarget};
use crate::diagnostic::Diagnostic;
use crate::names::path_segment_error;
use crate::ops::missing_permissions::describe_missing_permission;
use crate::ops::runner_permissions::{CallerPermissions, caller_permissions, read_cluster, roles_for_apply};
use crate::ops::{ClusterConnection, CommandError, ConnectedCluster, TargetCluster};
use crate::permissions::{EksAccess, MinimalRoles, RoleWritePermission, assumed_roles, runner_iam_policy};
use crate::plan::Plan;
use crate::render::text_util::{escape_control, pluralize};
use crate::report::{
    CommandJson, MissingPermissionJson, ObjectListDocument, PermissionsCheckJson, PermissionsDocument,
};
use crate::state::State;
use crate::state::rbac::Subject;
use crate::yaml::to_yaml;

pub(crate) async fn run(args: &PermissionsArgs, env: &mut Env) -> Result<Exit, CommandError> {
    if args.iam {
        return print_iam_policy(args, env);
    }
    let subject = parse_subject(&args.subject)?;
    if let Some(reason) = path_segment_error(&args.name) {
        let message = format!("invalid value `{}` for `--name`: {reason}", args.name);
        return Err(CommandError::from_diagnostic(Diagnostic::error(message)));
    }
    let reading_roles = match args.for_command {
        RunnerCommand::Plan => Some(MinimalRoles::for_plan()),
        RunnerCommand::Drift => Some(MinimalRoles::for_drift()),
        RunnerCommand::Apply => None,
    };
    if let (Some(roles), false) = (&reading_roles, args.check) {
        print_roles(args, "any cluster", roles, &subject, env)?;
        return Ok(Exit::Success);
    }
    let path = args.target.policy.clone().or_else(|| find_policy(env));
    let loaded = path.map(|path| load_policy(Some(&path), env)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let context = env.ops_context();
    let mut targets = resolve_targets(clusters, &args.target.connection, &context)?;
    let (Some(target), true) = (targets.pop(), targets.is_empty()) else {
        let error = Diagnostic::error("permissions needs one cluster, but the policy has several");
        return Err(CommandError::from_diagnostic(error.with_help("pass --cluster NAME")));
    };
    let may_be_unreadable = args.check && args.for_command != RunnerCommand::Apply;
    let (connected, state) = read_cluster(&target, may_be_unreadable).await?;
    let (roles, plan) = match (reading_roles, &loaded) {
        (Some(roles), _) => (roles, None),
        (None, Some(loaded)) => {
            let (roles, plan) = roles_for_apply(loaded, &target, &state, &context)?;
            (roles, Some(plan))
        }
        (None, None) => {
            let error = Diagnostic::error("the permissions for apply depend on a policy, and none was found");
            return Err(CommandError::from_diagnostic(error.with_help("name the policy, or pass --for plan")));
        }
    };
    if args.check {
        return check_caller(args, (&roles, plan.as_ref()), &connected, &state, env).await;
    }
    print_roles(args, &connected.label, &roles, &subject, env)?;
    Ok(Exit::Success)
}

/// Prints what the runner needs in AWS. Nothing is asked of AWS or of a cluster.
fn print_iam_policy(args: &PermissionsArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let path = args.target.policy.clone().or_else(|| find_policy(env));
    let loaded = path.map(|path| load_policy(Some(&path), env)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let targets = resolve_targets(clusters, &args.target.connection, &env.ops_context())?;
    let to_access = |target: &TargetCluster| match &target.connection {
        ClusterConnection::Live(ContextSelector::Eks(EksTarget { name, account, aws, known_region: _ })) => {
            Some(EksAccess {
                name: name.clone(),
                region: aws.region.clone()?,
                account: account.clone(),
                role_arn: aws.role.as_ref().map(|role| role.arn.clone()),
            })
        }
        ClusterConnection::Live(ContextSelector::Current | ContextSelector::Named(_))
        | ClusterConnection::Snapshot { .. } => None,
    };
    let clusters: Vec<EksAccess> = targets.iter().filter_map(to_access).collect();
    if clusters.is_empty() {
        let error = Diagnostic::error("no cluster is named by its name in EKS, so no IAM permission is needed");
        let help = "write `eks = { name = \"…\", region = \"…\" }` in the policy, or pass --eks NAME --region REGION";
        return Err(CommandError::from_diagnostic(error.with_help(help)));
    }
    print_json(&runner_iam_policy(&clusters, args.for_command == RunnerCommand::Apply), env)?;
    for (role, cluster) in assumed_roles(&clusters) {
        env.note(&format!("note: the role {role} needs eks:DescribeCluster on {cluster}\n"));
    }
    Ok(Exit::Success)
}

fn parse_subject(text: &str) -> Result<Subject, CommandError> {
    Ok(match SubjectQuery::parse(text) {
        Ok(SubjectQuery::Group(name)) => Subject::Group(name),
        Ok(SubjectQuery::User(name)) => Subject::User(name),
        Ok(SubjectQuery::ServiceAccount { namespace, name }) => Subject::ServiceAccount { namespace, name },
        Ok(SubjectQuery::Arn(_) | SubjectQuery::Account(_)) | Err(_) => {
            let error =
                Diagnostic::error(format!("invalid value `{text}` for `--subject`: not a subject of a binding"));
            return Err(CommandError::from_diagnostic(
                error.with_help("use group:NAME, user:NAME or sa:NAMESPACE/NAME"),
            ));
        }
    })
}

fn print_roles(
    args: &PermissionsArgs,
    label: &str,
    roles: &MinimalRoles,
    subject: &Subject,
    env: &mut Env,
) -> Result<(), CommandError> {
    let write_permission = match args.with {
        RoleWriteMethod::Rules => RoleWritePermission::HoldRules,
        RoleWriteMethod::Escalate => RoleWritePermission::Escalate,
    };
    let objects = roles.to_manifests(&args.name, write_permission, subject);
    match args.format {
        OutputFormat::Json => {
            print_json(&ObjectListDocument::new(&objects), env)?;
        }
        OutputFormat::Text => {
            let documents: Vec<String> = objects.iter().map(to_yaml).collect();
            env.print_data(&format!("{}{}", header_comment(args, label), documents.join("---\n")));
        }
    }
    Ok(())
}

/// Returns the comment at the top of the manifests: what they are for, and their risks.
fn header_comment(args: &PermissionsArgs, label: &str) -> String {
    let label = escape_control(label);
    if args.for_command != RunnerCommand::Apply {
        let command = command_name(args.for_command);
        return format!("# The permissions that `rolecall {command}` needs on {label}. They are read-only.\n");
    }
    let write_permission = match args.with {
        RoleWriteMethod::Rules => {
            "# They include the rules of the policy's roles, since the API server allows writing a rule into a role only if\n\
             # the subject has it. A policy that grants more needs new permissions first: regenerate and apply this file.\n"
        }
        RoleWriteMethod::Escalate => {
            "# This allows privilege escalation: with \"escalate\" the subject can create a role with any rules. RBAC cannot\n\
             # restrict create requests by resourceNames.\n"
        }
    };
    format!(
        "# The permissions that `rolecall apply` needs on {label}, limited to the names of the policy and of the objects\n\
         # that it owns there.\n{write_permission}\
         # A subject that can update the aws-auth ConfigMap can make itself system:masters: protect it like a cluster administrator.\n"
    )
}

fn command_name(command: RunnerCommand) -> &'static str {
    match command {
        RunnerCommand::Plan => "plan",
        RunnerCommand::Drift => "drift",
        RunnerCommand::Apply => "apply",
    }
}

async fn check_caller(
    args: &PermissionsArgs,
    (roles, plan): (&MinimalRoles, Option<&Plan>),
    connected: &ConnectedCluster,
    state: &State,
    env: &mut Env,
) -> Result<Exit, CommandError> {
    let CallerPermissions { username, missing } = caller_permissions((roles, plan), connected, state).await?;
    let command = command_name(args.for_command);
    match args.format {
        OutputFormat::Json => {
            let check = PermissionsCheckJson {
                cluster: connected.label.clone(),
                command: match args.for_command {
                    RunnerCommand::Plan => CommandJson::Plan,
                    RunnerCommand::Drift => CommandJson::Drift,
                    RunnerCommand::Apply => CommandJson::Apply,
                },
                missing: missing.iter().map(MissingPermissionJson::from).collect(),
            };
            print_json(&PermissionsDocument::new(vec![check]), env)?;
        }
        OutputFormat::Text => {
            let (label, username) = (escape_control(&connected.label), escape_control(&username));
            if missing.is_empty() {
                env.print(&format!("{label}: `{username}` has all permissions that {command} needs\n"));
            } else {
                let number = pluralize(missing.len(), "permission");
                env.print(&format!("{label}: `{username}` lacks {number} that {command} needs\n"));
            }
            for permission in &missing {
                env.print(&format!("  {}\n", escape_control(&describe_missing_permission(permission))));
            }
        }
    }
    Ok(if missing.is_empty() { Exit::Success } else { Exit::Failed })
}
