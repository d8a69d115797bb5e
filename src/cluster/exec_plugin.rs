//! The credentials plugin of a kubeconfig's user: a command such as `aws eks get-token`, run once for each token.
//!
//! What it prints on stdout is a secret and goes nowhere but into the connection; nor do its environment and its
//! arguments into a message. The kube client would run it three times for one connection.

use std::io::IsTerminal as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;

use super::ClusterError;
use super::child::run_with_timeout;
use super::settings::{ConnectionSettings, Timeouts};

/// Lines of its stderr that are repeated in a message.
const MAX_STDERR_LINES: usize = 3;

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

/// The configuration with what the plugin gives in the place of the plugin; without one it is as it was.
pub(super) async fn resolve_credentials(
    mut config: Config,
    settings: &ConnectionSettings,
) -> Result<Config, ClusterError> {
    let Some(exec) = config.auth_info.exec.take() else {
        return Ok(config);
    };
    let settings = settings.clone();
    let ran = tokio::task::spawn_blocking(move || run_plugin(&exec, &settings)).await;
    let given = ran.map_err(|error| ClusterError::CredentialPlugin { why: error.to_string() })??;
    config.auth_info = AuthInfo {
        token: given.token,
        client_certificate_data: given.client_certificate_data,
        client_key_data: given.client_key_data,
        ..config.auth_info
    };
    Ok(config)
}

fn run_plugin(exec: &ExecConfig, settings: &ConnectionSettings) -> Result<AuthInfo, ClusterError> {
    let failed = |why: String| ClusterError::CredentialPlugin { why };
    let Some(name) = &exec.command else {
        return Err(failed("the `exec` entry of the user names no command".to_owned()));
    };
    let terminal = std::io::stdin().is_terminal();
    let interactive = match exec.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) if !terminal => {
            return Err(failed(format!("`{name}` wants to ask something, and there is no terminal to ask at")));
        }
        Some(ExecInteractiveMode::Always | ExecInteractiveMode::IfAvailable) | None => terminal,
    };
    let mut command = Command::new(name);
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let spec = match exec.cluster.as_ref().filter(|_| exec.provide_cluster_info) {
        Some(cluster) => json!({ "interactive": interactive, "cluster": cluster }),
        None => json!({ "interactive": interactive }),
    };
    let info = json!({ "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec });
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    for name in exec.drop_env.iter().flatten() {
        command.env_remove(name);
    }
    // Questions and answers at a terminal; otherwise stdin is apply's, and stderr is kept for a message.
    command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
    command.stderr(if interactive { Stdio::inherit() } else { Stdio::piped() });
    command.stdout(Stdio::piped());
    let Timeouts { plugin, interactive_plugin, .. } = settings.timeouts;
    let timeout = if interactive { interactive_plugin } else { plugin };
    let what = format!("the credential plugin `{name}`");
    let started = Instant::now();
    // A group of its own would keep the terminal's Ctrl-C from the plugin, so it gets one only without a terminal.
    let done = run_with_timeout(&mut command, timeout, !terminal, || {
        // A line in the middle of its question would be in the way.
        if !interactive {
            settings.log.delayed(&what);
        }
    });
    let end = match &done {
        Ok(Some(done)) => {
            done.status.code().map_or_else(|| done.status.to_string(), |code| format!("exit code {code}"))
        }
        Ok(None) => "timed out".to_owned(),
        Err(_) => "could not be run".to_owned(),
    };
    settings.log.ended(&what, &end, started.elapsed());
    let done = done.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let how = exec.install_hint.as_deref().and_then(|hint| hint.lines().find(|line| !line.trim().is_empty()));
            failed(format!("there is no command `{name}`{}", how.map(|how| format!(": {how}")).unwrap_or_default()))
        }
        std::io::ErrorKind::PermissionDenied => failed(format!("`{name}` may not be run")),
        _ => failed(format!("`{name}` cannot be run: {error}")),
    })?;
    let Some(done) = done else {
        return Err(ClusterError::TimedOut { what, after: timeout, sent: false, by_plugin: true });
    };
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let lines: Vec<&str> =
            said.lines().map(str::trim).filter(|line| !line.is_empty()).take(MAX_STDERR_LINES).collect();
        let words = if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) };
        return Err(failed(format!("`{name}` ended with {end}{words}")));
    }
    let no_credential = || failed(format!("what `{name}` printed is no ExecCredential"));
    let printed: ExecCredential = serde_json::from_slice(&done.stdout).map_err(|_| no_credential())?;
    let given = printed.status.ok_or_else(no_credential)?;
    if given.token.is_none() && given.client_certificate_data.is_none() {
        return Err(failed(format!("`{name}` printed neither a token nor a certificate")));
    }
    let encoded = |pem: Option<String>| pem.map(|pem| STANDARD.encode(pem));
    // Read from JSON, because kube's type for secrets is not to be had otherwise.
    serde_json::from_value(json!({
        "token": given.token,
        "client-certificate-data": encoded(given.client_certificate_data),
        "client-key-data": encoded(given.client_key_data),
    }))
    .map_err(|_| no_credential())
}
