//! Recognizes the credential plugins whose tokens rolecall makes itself: `aws eks get-token`, as `aws eks
//! update-kubeconfig` and eksctl write it, and `aws-iam-authenticator token`.
//!
//! A command with an argument or a variable that is not known here runs as a plugin, since it could mean another token.

use http::Uri;
use kube::config::ExecConfig;

use crate::aws::{AssumedRole, AwsSettings, ProfileSelection};
use crate::names::is_eks_cluster_name;

/// The session name of a role that `aws eks get-token --role-arn` assumes (AWS CLI, `customizations/eks/get_token.py`). A
/// username can contain it.
const CLI_SESSION_NAME: &str = "EKSGetTokenAuth";

/// What a plugin makes a token of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenCommand {
    /// The name of the cluster, or its id on an Outpost.
    pub(super) token_id: String,
    pub(super) aws: AwsSettings,
}

/// Returns what the command of a kubeconfig user makes a token of. `server` is the address of the cluster, which has its
/// region if the command has none.
pub(super) fn parse_token_command(exec: &ExecConfig, server: &Uri) -> Option<TokenCommand> {
    if exec.drop_env.as_ref().is_some_and(|names| !names.is_empty()) {
        return None;
    }
    let args: Vec<&str> = exec.args.iter().flatten().map(String::as_str).collect();
    let mut parts = match exec.command.as_deref()? {
        "aws" | "aws.exe" => parse_cli(&args)?,
        "aws-iam-authenticator" | "aws-iam-authenticator.exe" => parse_authenticator(&args)?,
        _ => return None,
    };
    for variable in exec.env.iter().flatten() {
        let value = variable.get("value").filter(|value| !value.is_empty());
        match (variable.get("name")?.as_str(), value) {
            (_, None) => {}
            ("AWS_PROFILE" | "AWS_DEFAULT_PROFILE", Some(value)) => {
                parts.profile.get_or_insert_with(|| ProfileSelection::LikeVariable(value.clone()));
            }
            ("AWS_REGION" | "AWS_DEFAULT_REGION", Some(value)) => {
                parts.region.get_or_insert_with(|| value.clone());
            }
            // Tokens are always of the regional endpoint.
            ("AWS_STS_REGIONAL_ENDPOINTS", Some(value)) if value == "regional" => {}
            _ => return None,
        }
    }
    let CommandParts { token_id, region, profile, role, external_id, session_name } = parts;
    let role = role.map(|arn| AssumedRole { arn, external_id, session_name });
    let region = region.or_else(|| region_of_server(server));
    // Another text could not be sent in a header.
    let token_id = token_id.filter(|id| is_eks_cluster_name(id))?;
    Some(TokenCommand { token_id, aws: AwsSettings { profile, region, role } })
}

#[derive(Default)]
struct CommandParts {
    token_id: Option<String>,
    region: Option<String>,
    profile: Option<ProfileSelection>,
    role: Option<String>,
    external_id: Option<String>,
    session_name: Option<String>,
}

/// The flags of a command in order, with their values: `--flag value`, `--flag=value`. Other words have no flag.
fn words<'a>(args: &[&'a str], without_value: &[&str]) -> Option<Vec<(&'a str, &'a str)>> {
    let (mut words, mut rest) = (Vec::new(), args.iter());
    while let Some(arg) = rest.next() {
        match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => words.push((flag, value)),
            _ if without_value.contains(arg) => words.push((arg, "")),
            _ if arg.starts_with('-') => words.push((arg, rest.next()?)),
            _ => words.push(("", arg)),
        }
    }
    Some(words)
}

/// `aws --region eu-west-1 eks get-token --cluster-name prod --output json --role-arn …`.
fn parse_cli(args: &[&str]) -> Option<CommandParts> {
    let mut parts = CommandParts { session_name: Some(CLI_SESSION_NAME.to_owned()), ..CommandParts::default() };
    let mut command = Vec::new();
    for (flag, value) in words(args, &["--no-cli-pager"])? {
        match flag {
            "" => command.push(value),
            "--cluster-name" | "--cluster-id" => parts.token_id = Some(value.to_owned()),
            "--region" => parts.region = Some(value.to_owned()),
            "--role-arn" | "--role" => parts.role = Some(value.to_owned()),
            "--profile" => parts.profile = Some(ProfileSelection::Explicit(value.to_owned())),
            "--output" | "--no-cli-pager" => {}
            _ => return None,
        }
    }
    (command == ["eks", "get-token"]).then_some(parts)
}

/// `aws-iam-authenticator token -i prod --role …`.
fn parse_authenticator(args: &[&str]) -> Option<CommandParts> {
    let mut parts = CommandParts::default();
    let mut command = Vec::new();
    for (flag, value) in words(args, &[])? {
        match flag {
            "" => command.push(value),
            "-i" | "--cluster-id" => parts.token_id = Some(value.to_owned()),
            "--region" => parts.region = Some(value.to_owned()),
            "-r" | "--role" => parts.role = Some(value.to_owned()),
            "-e" | "--external-id" => parts.external_id = Some(value.to_owned()),
            "-s" | "--session-name" => parts.session_name = Some(value.to_owned()),
            _ => return None,
        }
    }
    (command == ["token"]).then_some(parts)
}

/// Returns the region in `https://ABC.gr7.eu-west-1.eks.amazonaws.com`.
fn region_of_server(server: &Uri) -> Option<String> {
    let (start, _) = server.host()?.split_once(".eks.")?;
    let region = start.rsplit('.').next()?;
    (region.split('-').count() >= 3).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(command: &str, args: &Value, env: &Value) -> Option<TokenCommand> {
        let exec = json!({ "apiVersion": "client.authentication.k8s.io/v1beta1", "command": command, "args": args, "env": env });
        let server = "https://ABC.gr7.eu-west-1.eks.amazonaws.com".parse().unwrap();
        parse_token_command(&serde_json::from_value(exec).unwrap(), &server)
    }

    fn command(region: &str, profile: Option<ProfileSelection>, role: Option<AssumedRole>) -> TokenCommand {
        let aws = AwsSettings { profile, region: Some(region.to_owned()), role };
        TokenCommand { token_id: "prod".to_owned(), aws }
    }

    #[test]
    fn commands_of_update_kubeconfig_and_eksctl_are_known() {
        let written =
            json!(["--region", "us-east-1", "eks", "get-token", "--cluster-name", "prod", "--output", "json"]);
        assert_eq!(parse("aws", &written, &json!(null)), Some(command("us-east-1", None, None)));
        let role = "arn:aws:iam::111122223333:role/x";
        let with_role = json!(["eks", "get-token", "--cluster-name=prod", "--role-arn", role]);
        let env = json!([{ "name": "AWS_PROFILE", "value": "work" }]);
        let assumed = |session: Option<&str>| AssumedRole {
            arn: role.to_owned(),
            external_id: None,
            session_name: session.map(str::to_owned),
        };
        let profile = Some(ProfileSelection::LikeVariable("work".to_owned()));
        assert_eq!(
            parse("aws", &with_role, &env),
            Some(command("eu-west-1", profile.clone(), Some(assumed(Some(CLI_SESSION_NAME)))))
        );
        let eksctl = json!(["token", "-i", "prod", "-r", role]);
        let env = json!([
            { "name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional" },
            { "name": "AWS_DEFAULT_REGION", "value": "us-east-2" },
            { "name": "AWS_PROFILE", "value": "work" },
        ]);
        let expected = command("us-east-2", profile, Some(assumed(None)));
        assert_eq!(parse("aws-iam-authenticator", &eksctl, &env), Some(expected));
    }

    #[test]
    fn other_commands_run_as_plugins() {
        let none = json!(null);
        let get_token = json!(["eks", "get-token", "--cluster-name", "prod"]);
        assert_eq!(parse("./aws", &get_token, &none), None);
        assert_eq!(parse("aws-vault", &get_token, &none), None);
        assert_eq!(parse("aws", &json!(["eks", "get-token"]), &none), None);
        assert_eq!(parse("aws", &json!(["eks", "get-token", "--cluster-name"]), &none), None);
        assert_eq!(parse("aws", &json!(["sts", "get-token", "--cluster-name", "prod"]), &none), None);
        let with_endpoint = json!(["eks", "get-token", "--cluster-name", "prod", "--endpoint-url", "https://x.test"]);
        assert_eq!(parse("aws", &with_endpoint, &none), None);
        let secret = json!([{ "name": "AWS_SECRET_ACCESS_KEY", "value": "x" }]);
        assert_eq!(parse("aws", &get_token, &secret), None);
        assert_eq!(
            parse("aws-iam-authenticator", &json!(["token", "-i", "prod", "--forward-session-name"]), &none),
            None
        );
    }
}
