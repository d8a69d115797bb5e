//! Warns of clusters that read access entries, which are not evaluated.
//!
//! Source: EKS User Guide, "Grant IAM users and roles access to Kubernetes APIs": in the mode API the ConfigMap aws-auth is
//! not read, and in API_AND_CONFIG_MAP an access entry takes precedence over the aws-auth entry of the same principal.

use crate::diagnostic::Diagnostic;
use crate::state::State;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};

/// Returns the warning that every plan and every answer about the cluster has. `None` if the cluster reads only aws-auth,
/// or EKS was not asked.
pub(crate) fn auth_mode_warning(state: &State) -> Option<Diagnostic> {
    const NOT_EVALUATED: &str = "access entries are not evaluated";
    Some(match &state.auth_mode {
        ObservedAuthMode::NotAsked | ObservedAuthMode::Known(ClusterAuthMode::ConfigMap) => return None,
        ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap) => {
            Diagnostic::warning(format!("the authentication mode is API_AND_CONFIG_MAP, and {NOT_EVALUATED}"))
                .with_note(
                    "EKS prefers an access entry to an aws-auth entry: a principal can have other access than is shown",
                )
        }
        ObservedAuthMode::Known(ClusterAuthMode::Api) => Diagnostic::warning(
            "the authentication mode is API: the cluster does not read aws-auth",
        )
        .with_note(format!(
            "its principals come from access entries alone, and {NOT_EVALUATED}: what is said of the principals of \
                     aws-auth does not apply to this cluster"
        ))
        .with_help("use rolecall for the roles and bindings of this cluster only, without `[principals]`"),
        ObservedAuthMode::Known(ClusterAuthMode::Other(mode)) => {
            Diagnostic::warning(format!("the authentication mode {mode} is not known to this version of rolecall"))
                .with_note(format!("it is not known whether the cluster reads aws-auth, and {NOT_EVALUATED}"))
        }
        ObservedAuthMode::Unknown(reason) => Diagnostic::warning("the authentication mode of the cluster is not known")
            .with_because(reason.clone())
            .with_note(format!("the cluster may not read aws-auth, and {NOT_EVALUATED}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cluster_that_reads_aws_auth_alone_has_no_warning() {
        let warning = |auth_mode| {
            let warning = auth_mode_warning(&State { auth_mode, ..State::default() })?;
            assert!(warning.message.len() < 100, "{}", warning.message);
            Some(warning.message)
        };
        let known = |mode: &str| warning(ObservedAuthMode::Known(ClusterAuthMode::parse(mode).unwrap()));
        assert_eq!(warning(ObservedAuthMode::NotAsked), None);
        assert_eq!(known("CONFIG_MAP"), None);
        let message = known("API_AND_CONFIG_MAP").unwrap();
        assert_eq!(message, "the authentication mode is API_AND_CONFIG_MAP, and access entries are not evaluated");
        let message = known("API").unwrap();
        assert_eq!(message, "the authentication mode is API: the cluster does not read aws-auth");
        let message = known("NEW_MODE").unwrap();
        assert_eq!(message, "the authentication mode NEW_MODE is not known to this version of rolecall");
        let message = warning(ObservedAuthMode::Unknown("you are not allowed".to_owned())).unwrap();
        assert_eq!(message, "the authentication mode of the cluster is not known");
        assert_eq!((ClusterAuthMode::parse("api"), ClusterAuthMode::parse("")), (None, None));
    }
}
