//! Kubeconfig files for a test cluster: a cluster with its CA file, a user with a bearer token, and a current context.

use std::path::Path;

use serde_json::{Value, json};

/// A kubeconfig in which the cluster, the user and the context have this name.
pub fn with_token(name: &str, server: &str, ca: &Path, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{
            "name": name,
            "cluster": {"server": server, "certificate-authority": ca},
        }],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    })
}
