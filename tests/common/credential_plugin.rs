//! A credential plugin, as in the kubeconfig that `aws eks update-kubeconfig` writes.

use std::path::PathBuf;

use serde_json::json;

use super::proxy::Proxy;

/// A credential plugin that prints `token-1`, then `token-2`, by which a proxy knows how new a token is, and counts its
/// calls.
pub struct CredentialPlugin {
    folder: tempfile::TempDir,
}

impl CredentialPlugin {
    pub fn new() -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\necho x >> calls\n\
            printf '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",'\n\
            printf '\"status\":{\"token\":\"token-%s\"}}' \"$(grep -c x calls)\"\n";
        let path = folder.path().join("plugin");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder }
    }

    /// A kubeconfig that connects through the proxy with this plugin.
    pub fn kubeconfig(&self, proxy: &Proxy) -> PathBuf {
        proxy.write_kubeconfig(&json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "eks",
            "clusters": [{ "name": "eks", "cluster": { "server": proxy.server() } }],
            "users": [{ "name": "eks", "user": { "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": self.folder.path().join("plugin"), "interactiveMode": "IfAvailable",
            } } }],
            "contexts": [{ "name": "eks", "context": { "cluster": "eks", "user": "eks" } }],
        }))
    }

    pub fn calls(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default().lines().count()
    }

    /// A kubeconfig whose plugin file exists until the test binary exits.
    pub fn leaked_kubeconfig(proxy: &Proxy) -> std::path::PathBuf {
        let plugin = Self::new();
        let path = plugin.kubeconfig(proxy);
        std::mem::forget(plugin);
        path
    }
}
