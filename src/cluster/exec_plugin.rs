//! Runs the credential plugin of a kubeconfig user: a command such as `aws eks get-token`. It runs once for each token,
//! while the kube client would run it three times for one connection.
//!
//! Its stdout is secret and is used only for the connection. Its environment and arguments are never printed either.

use std::io::IsTerminal as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;

use super::ClusterError;
use super::child::{Finished, run_with_timeout};
use super::kubeconfig_fields::{is_header_value, is_pem_certificate, is_pem_private_key};
use super::safe_errors::describe_plugin_failure;
use super::settings::{ConnectionSettings, TimeLimit, Timeouts};

#[derive(Deserialize)]
struct ExecCredential {
    status: Option<ExecCredentialStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredentialStatus {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs the plugin and returns the credentials that it prints.
pub(super) async fn run_exec_plugin(exec: ExecConfig, settings: &ConnectionSettings) -> Result<AuthInfo, ClusterError> {
    let description = describe(&exec);
    let is_interactive = can_prompt(&exec);
    let limit = time_limit(is_interactive, settings.timeouts);
    let in_thread = settings.clone();
    // The plugin may prompt the user. Another prompt or a message would interrupt that.
    let turn = if is_interactive { Some(settings.prompt_turn.take().await) } else { None };
    let prompting = turn.as_ref().map(|_| settings.log.prompting());
    let running = tokio::task::spawn_blocking(move || run_plugin(&exec, &in_thread));
    let result = if is_interactive { running.await } else { settings.log.watch(&description, limit, running).await };
    drop(prompting);
    drop(turn);
    // The message of a panic may quote what the plugin printed.
    result.map_err(|_| ClusterError::CredentialPlugin { why: "rolecall could not run it".to_owned() })?
}

fn describe(exec: &ExecConfig) -> String {
    format!("the credential plugin `{}`", exec.command.as_deref().unwrap_or_default())
}

/// Returns whether the plugin can use the terminal.
fn can_prompt(exec: &ExecConfig) -> bool {
    !matches!(exec.interactive_mode, Some(ExecInteractiveMode::Never)) && std::io::stdin().is_terminal()
}

fn time_limit(is_interactive: bool, timeouts: Timeouts) -> Duration {
    if is_interactive { timeouts.interactive_plugin } else { timeouts.plugin }
}

fn run_plugin(exec: &ExecConfig, settings: &ConnectionSettings) -> Result<AuthInfo, ClusterError> {
    let failed = |why: String| ClusterError::CredentialPlugin { why };
    let Some(name) = &exec.command else {
        return Err(failed("the `exec` entry of the user has no `command`".to_owned()));
    };
    let is_interactive = can_prompt(exec);
    if matches!(exec.interactive_mode, Some(ExecInteractiveMode::Always)) && !is_interactive {
        return Err(failed(format!("`{name}` needs to prompt you, but stdin is not a terminal")));
    }
    let mut command = Command::new(name);
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let spec = match exec.cluster.as_ref().filter(|_| exec.provide_cluster_info) {
        Some(cluster) => json!({ "interactive": is_interactive, "cluster": cluster }),
        None => json!({ "interactive": is_interactive }),
    };
    let info = json!({ "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec });
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    for name in exec.drop_env.iter().flatten() {
        command.env_remove(name);
    }
    // Without a terminal, stdin is left to rolecall, and stderr is captured for the error message.
    command.stdin(if is_interactive { Stdio::inherit() } else { Stdio::null() });
    command.stderr(if is_interactive { Stdio::inherit() } else { Stdio::piped() });
    command.stdout(Stdio::piped());
    let timeout = time_limit(is_interactive, settings.timeouts);
    let description = describe(exec);
    let started = Instant::now();
    // In a process group of its own a plugin could not use the terminal.
    let finished = run_with_timeout(&mut command, timeout, !is_interactive, &settings.interrupt);
    let result = match &finished {
        Ok(Some(Finished { status, .. })) => {
            status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
        }
        Ok(None) => "timed out".to_owned(),
        Err(_) => "could not be run".to_owned(),
    };
    settings.log.ended(&description, &result, started.elapsed());
    let finished = finished.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let hint = exec.install_hint.as_deref().and_then(|hint| hint.lines().find(|line| !line.trim().is_empty()));
            let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
            failed(format!("the command `{name}` does not exist{hint}"))
        }
        std::io::ErrorKind::PermissionDenied => failed(format!("no permission to run `{name}`")),
        _ => failed(format!("cannot run `{name}`")),
    })?;
    let Some(finished) = finished else {
        return Err(ClusterError::TimedOut {
            what: description,
            after: timeout,
            sent: false,
            limit: TimeLimit::Plugin,
        });
    };
    if !finished.status.success() {
        // An interactive plugin has shown its error output to the user.
        let reason =
            if is_interactive { String::new() } else { format!(": {}", describe_plugin_failure(&finished.stderr)) };
        return Err(failed(format!("`{name}` failed with {result}{reason}")));
    }
    let invalid_output = || failed(format!("the output of `{name}` is not a valid ExecCredential"));
    let output: ExecCredential = serde_json::from_slice(&finished.stdout).map_err(|_| invalid_output())?;
    let credentials = output.status.ok_or_else(invalid_output)?;
    if credentials.token.is_none() && credentials.client_certificate_data.is_none() {
        return Err(failed(format!("`{name}` printed neither a token nor a certificate")));
    }
    let ExecCredentialStatus { token, client_certificate_data, client_key_data } = &credentials;
    if token.as_deref().is_some_and(|token| !is_header_value(token)) {
        return Err(failed(format!("the token of `{name}` has characters that a header cannot have")));
    }
    if client_certificate_data.as_deref().is_some_and(|pem| !is_pem_certificate(pem.as_bytes())) {
        return Err(failed(format!("the `clientCertificateData` of `{name}` is not a PEM certificate")));
    }
    if client_key_data.as_deref().is_some_and(|pem| !is_pem_private_key(pem.as_bytes())) {
        return Err(failed(format!("the `clientKeyData` of `{name}` is not a PEM private key")));
    }
    if client_certificate_data.is_some() != client_key_data.is_some() {
        return Err(failed(format!("`{name}` printed a certificate without its key, or a key without a certificate")));
    }
    let encoded = |pem: Option<String>| pem.map(|pem| STANDARD.encode(pem));
    // Deserialized from JSON, because kube does not export the type of its secrets.
    serde_json::from_value(json!({
        "token": credentials.token,
        "client-certificate-data": encoded(credentials.client_certificate_data),
        "client-key-data": encoded(credentials.client_key_data),
    }))
    .map_err(|_| invalid_output())
}
