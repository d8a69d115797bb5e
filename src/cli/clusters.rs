//! `rolecall clusters`: the EKS clusters of an account and region, and which of them are in the policy.

use std::collections::BTreeMap;

use super::args::OutputFormat;
use super::eks_args::ClustersArgs;
use super::env::Env;
use super::exit::Exit;
use super::policy_files::{find_policy, load_policy};
use super::print_json;
use super::target::eks_target;
use crate::aws::{AwsSettings, ProfileSelection};
use crate::cluster::eks::EksClusterList;
use crate::ops::{ClusterScope, CommandError, list_scopes};
use crate::policy::{ClusterSpec, ConnectionSpec};
use crate::render::terminal_text::TerminalText;
use crate::render::text_util::escape_control;
use crate::report::{ClusterScopeJson, ClustersDocument, ListedClusterJson};

pub(crate) fn run(args: &ClustersArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let path = args.policy.clone().or_else(|| find_policy(env));
    let loaded = path.map(|path| load_policy(Some(&path), env)).transpose()?;
    let clusters = loaded.as_ref().map(|loaded| &loaded.policy.clusters);
    let context = env.ops_context();
    let lists = list_scopes(select_scopes(args, clusters), &context)?;
    match args.format {
        OutputFormat::Json => {
            let scopes = lists.iter().map(|(scope, list)| to_json(scope, list));
            print_json(&ClustersDocument::new(scopes.collect()), env)?;
        }
        OutputFormat::Text => {
            for (scope, list) in &lists {
                env.print_text(&format_scope(scope, list, loaded.is_some()));
            }
        }
    }
    Ok(Exit::Success)
}

/// Returns the account and region of the flags, or all those of the policy, or those of the AWS configuration.
fn select_scopes(args: &ClustersArgs, clusters: Option<&BTreeMap<String, ClusterSpec>>) -> Vec<ClusterScope> {
    let mut scopes: Vec<ClusterScope> = Vec::new();
    for (policy_name, cluster) in clusters.into_iter().flatten() {
        let ConnectionSpec::Eks(spec) = &cluster.connection else {
            continue;
        };
        let target = eks_target(spec, cluster);
        let existing = scopes.iter_mut().find(|scope| scope.aws == target.aws);
        let names = match existing {
            Some(scope) => &mut scope.policy_names,
            None => {
                let policy_names = BTreeMap::from([(target.name.clone(), Vec::new())]);
                scopes.push(ClusterScope { aws: target.aws, policy_names });
                let Some(scope) = scopes.last_mut() else {
                    continue;
                };
                &mut scope.policy_names
            }
        };
        names.entry(target.name).or_default().push(policy_name.clone());
    }
    if args.region.is_none() && args.profile.is_none() && !scopes.is_empty() {
        return scopes;
    }
    let aws = AwsSettings {
        profile: args.profile.clone().map(ProfileSelection::Explicit),
        region: args.region.clone(),
        role: None,
    };
    let is_in_scope = |scope: &ClusterScope| args.region.is_none() || scope.aws.region == args.region;
    let mut policy_names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for scope in scopes.into_iter().filter(is_in_scope) {
        for (name, names) in scope.policy_names {
            policy_names.entry(name).or_default().extend(names);
        }
    }
    vec![ClusterScope { aws, policy_names }]
}

/// Returns the names in the policy of the clusters that do not exist.
fn missing<'s>(scope: &'s ClusterScope, list: &'s EksClusterList) -> impl Iterator<Item = &'s String> {
    let is_missing = |name: &str| !list.names.iter().any(|existing| existing == name);
    scope.policy_names.iter().filter(move |(name, _)| is_missing(name)).flat_map(|(_, names)| names)
}

fn to_json(scope: &ClusterScope, list: &EksClusterList) -> ClusterScopeJson {
    let clusters = list.names.iter().map(|name| ListedClusterJson {
        name: name.clone(),
        policy_names: scope.policy_names.get(name).cloned().unwrap_or_default(),
    });
    ClusterScopeJson {
        region: list.region.clone(),
        account: list.account.clone(),
        profile: scope.aws.profile.as_ref().map(|profile| profile.name().to_owned()),
        clusters: clusters.collect(),
        missing: missing(scope, list).cloned().collect(),
    }
}

fn format_scope(scope: &ClusterScope, list: &EksClusterList, has_policy: bool) -> TerminalText {
    let mut out = TerminalText::from_line(&format!("{} in account {}", list.region, list.account));
    let width = list.names.iter().map(String::len).max().unwrap_or_default();
    for name in &list.names {
        let shown = escape_control(name);
        match scope.policy_names.get(name) {
            Some(names) => out.line(&format!("  {shown:<width$}  {}", escape_control(&names.join(", ")))),
            None if has_policy => out.line(&format!("  {shown:<width$}  not in the policy")),
            None => out.line(&format!("  {shown}")),
        }
    }
    if list.names.is_empty() {
        out.line("  no clusters");
    }
    for name in missing(scope, list) {
        out.line(&format!("  the cluster `{}` of the policy does not exist here", escape_control(name)));
    }
    out
}
