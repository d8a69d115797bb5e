//! Kubeconfig files for a test cluster, in the form people have them: a
//! cluster with its CA, a user with a bearer token, one current context.

use std::path::Path;

use serde_json::{Value, json};

/// `name` is that of the cluster, the user and the context.
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
