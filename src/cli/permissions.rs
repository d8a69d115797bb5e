//! `rolecall permissions`: the roles for whoever runs the others, and what the caller lacks of them.

use serde_json::json;

use super::args::{Format, Permissions, Runs, WrittenWith};
use super::exit::Exit;
use super::failure::Failure;
use super::lacking::{denied, words};
use super::planned::unreadable;
use super::policy_files::{Loaded, find, load};
use super::print_json;
use super::target::{Opened, Target, targets};
use super::world::World;
use crate::access::Who;
use crate::cluster::ReadCluster as _;
use crate::diagnostic::Diagnostic;
use crate::names::path_segment_fault;
use crate::plan;
use crate::policy::expand::expand;
use crate::render::json::FORMAT_VERSION;
use crate::render::words::{count, visible};
use crate::rights::{Least, Runner, With};
use crate::state::State;
use crate::state::rbac::Subject;
use crate::yaml::to_yaml;

pub(crate) async fn run(args: &Permissions, world: &mut World) -> Result<Exit, Failure> {
    let subject = subject(&args.subject)?;
    if let Some(fault) = path_segment_fault(&args.name) {
        return Err(Failure::of(Diagnostic::error(format!("`--name {}` names no role: {fault}", args.name))));
    }
    if args.what == Runs::Plan && !args.check {
        print(args, "every cluster", &Least::to_plan(), &subject, world);
        return Ok(Exit::Done);
    }
    let named = args.scope.policy.clone().or_else(|| find(world));
    let loaded = named.map(|path| load(Some(&path), world)).transpose()?;
    let (target, opened, state) = cluster(args, loaded.as_ref(), world).await?;
    let least = match (args.what, &loaded) {
        (Runs::Plan, _) => Least::to_plan(),
        (Runs::Apply, Some(loaded)) => to_apply(loaded, &target, &state, world)?,
        (Runs::Apply, None) => {
            let error = Diagnostic::error("what apply needs is a policy's, and there is none here");
            return Err(Failure::of(error.hint("name the policy, or say --for plan")));
        }
    };
    if args.check {
        return check(args, &least, &opened, &state, world).await;
    }
    print(args, &opened.label, &least, &subject, world);
    Ok(Exit::Done)
}

/// The one cluster that is meant.
async fn cluster(
    args: &Permissions,
    loaded: Option<&Loaded>,
    world: &World,
) -> Result<(Target, Opened, State), Failure> {
    let clusters = loaded.map(|loaded| (&loaded.policy.clusters, loaded.folder.as_path()));
    let mut found = targets(clusters, &args.scope.place, world)?;
    let (Some(target), true) = (found.pop(), found.is_empty()) else {
        let error = Diagnostic::error("permissions are of one cluster, and the policy has several");
        return Err(Failure::of(error.hint("add --cluster NAME")));
    };
    let opened = target.open().await?;
    // What may not be read is what a check is for.
    let state = match opened.cluster.observe().await {
        Ok(state) => state,
        Err(_) if args.check && args.what == Runs::Plan => State::default(),
        Err(error) => return Err(error.into()),
    };
    Ok((target, opened, state))
}

fn to_apply(loaded: &Loaded, target: &Target, state: &State, world: &World) -> Result<Least, Failure> {
    let (policy, name) = (&loaded.policy, target.name.as_deref());
    let failed = |found| Failure::new(policy.sources.clone(), found);
    let (desired, _) = expand(policy, name, state, world.now).map_err(failed)?;
    let plan = plan::plan(policy, name, state, world.now).map_err(failed)?;
    Least::to_apply(&desired, state, &plan).map_err(|fault| unreadable(&fault))
}

fn subject(text: &str) -> Result<Subject, Failure> {
    Ok(match Who::parse(text) {
        Ok(Who::Group(name)) => Subject::Group(name),
        Ok(Who::User(name)) => Subject::User(name),
        Ok(Who::ServiceAccount { namespace, name }) => Subject::ServiceAccount { namespace, name },
        Ok(Who::Arn(_) | Who::Account(_)) | Err(_) => {
            let error = Diagnostic::error(format!("`--subject {text}` is none that a binding can name"));
            return Err(Failure::of(error.hint("write group:NAME, user:NAME or sa:NAMESPACE/NAME")));
        }
    })
}

fn print(args: &Permissions, label: &str, least: &Least, subject: &Subject, world: &mut World) {
    let with = match args.with {
        WrittenWith::Rules => With::Rules,
        WrittenWith::Escalate => With::Escalate,
    };
    let objects = least.objects(&args.name, with, subject);
    match args.format {
        Format::Json => {
            print_json(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }), world);
        }
        Format::Text => {
            let texts: Vec<String> = objects.iter().map(to_yaml).collect();
            world.print(&format!("{}{}", header(args, label), texts.join("---\n")));
        }
    }
}

/// What the reader has to know before he applies it.
fn header(args: &Permissions, label: &str) -> String {
    let label = visible(label);
    if args.what == Runs::Plan {
        return format!("# What `rolecall plan` needs on {label}. Nothing of it writes.\n");
    }
    let how = match args.with {
        WrittenWith::Rules => {
            "# It holds the rules that the policy gives, since the API server lets nobody write into a role what he does\n\
             # not hold: a policy that gives more is refused until this is printed and applied anew.\n"
        }
        WrittenWith::Escalate => {
            "# It may write any rule into a role: `escalate` cannot be limited by name where a role is created.\n"
        }
    };
    format!(
        "# What `rolecall apply` needs on {label}, limited to the names of the policy and of what it owns there.\n{how}\
         # Whoever may write aws-auth can make himself system:masters: guard this runner as you guard an admin.\n"
    )
}

async fn check(
    args: &Permissions,
    least: &Least,
    opened: &Opened,
    state: &State,
    world: &mut World,
) -> Result<Exit, Failure> {
    let Some(caller) = opened.cluster.whoami().await? else {
        let error = Diagnostic::error("a snapshot has no caller who could lack something");
        return Err(Failure::of(error.hint("ask a live cluster, or leave --check out")));
    };
    let runner = Runner { username: caller.username.clone(), groups: caller.groups };
    let mut lacks = least.unheld(state, &runner);
    let requests: Vec<_> = lacks.iter().map(|lack| lack.request.clone()).collect();
    let denied = denied(&opened.cluster, &requests).await?.unwrap_or_default();
    lacks.retain(|lack| denied.contains(&lack.request));
    let command = match args.what {
        Runs::Plan => "plan",
        Runs::Apply => "apply",
    };
    match args.format {
        Format::Json => {
            let all: Vec<_> = lacks
                .iter()
                .map(|lack| json!({ "request": lack.request.to_string(), "or-rules": lack.rules }))
                .collect();
            let cluster = json!({ "cluster": opened.label, "for": command, "lacks": all });
            print_json(&json!({ "format-version": FORMAT_VERSION, "clusters": [cluster] }), world);
        }
        Format::Text => {
            let (label, who) = (visible(&opened.label), visible(&caller.username));
            if lacks.is_empty() {
                world.print(&format!("{label}: `{who}` has all that {command} needs\n"));
            } else {
                let number = count(lacks.len(), "right");
                world.print(&format!("{label}: `{who}` lacks {number} that {command} needs\n"));
            }
            for lack in &lacks {
                world.print(&format!("  {}\n", visible(&words(lack))));
            }
        }
    }
    Ok(if lacks.is_empty() { Exit::Done } else { Exit::Failed })
}
