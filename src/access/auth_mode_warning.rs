//! Warns of clusters whose access entries are not known.
//!
//! Source: EKS User Guide, "Grant IAM users and roles access to Kubernetes APIs": in the mode API the ConfigMap aws-auth is
//! not read, and in API_AND_CONFIG_MAP an access entry takes precedence over the aws-auth entry of the same principal.

use crate::diagnostic::Diagnostic;
use crate::state::State;
use crate::state::access_entry::AccessEntriesStatus;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};

/// Returns the warning that every plan and every answer about the cluster has. `None` if the cluster reads only aws-auth,
/// or EKS was not asked.
pub(crate) fn auth_mode_warning(state: &State) -> Option<Diagnostic> {
    Some(match (&state.auth_mode, &state.access_entries.status) {
        (ObservedAuthMode::NotAsked | ObservedAuthMode::Known(ClusterAuthMode::ConfigMap), _)
        | (
            ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap | ClusterAuthMode::Api),
            AccessEntriesStatus::Known,
        ) => return None,
        (ObservedAuthMode::Known(mode @ (ClusterAuthMode::ApiAndConfigMap | ClusterAuthMode::Api)), status) => {
            let reason = match status {
                AccessEntriesStatus::Unknown(reason) => reason.clone(),
                AccessEntriesStatus::NotAsked | AccessEntriesStatus::Known => "they were not read".to_owned(),
            };
            Diagnostic::warning("the access entries of the cluster are not known").with_because(reason).with_note(format!(
                "the authentication mode is {}: an access entry takes precedence over aws-auth, so a principal can have \
                 other access than is shown",
                mode.as_str()
            ))
        }
        (ObservedAuthMode::Known(ClusterAuthMode::Other(mode)), _) => {
            Diagnostic::warning(format!("the authentication mode {mode} is not known to this version of rolecall"))
                .with_note("it is not known whether the cluster reads aws-auth")
        }
        (ObservedAuthMode::Unknown(reason), _) => {
            Diagnostic::warning("the authentication mode of the cluster is not known")
                .with_because(reason.clone())
                .with_note("the cluster may not read aws-auth, and its access entries are not known")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_whose_access_entries_are_not_known_has_a_warning() {
        let warning = |auth_mode| {
            let warning = auth_mode_warning(&State { auth_mode, ..State::default() })?;
            assert!(warning.message.len() < 100, "{}", warning.message);
            Some(warning.message)
        };
        let known = |mode: &str| warning(ObservedAuthMode::Known(ClusterAuthMode::parse(mode).unwrap()));
        assert_eq!(warning(ObservedAuthMode::NotAsked), None);
        assert_eq!(known("CONFIG_MAP"), None);
        for mode in ["API_AND_CONFIG_MAP", "API"] {
            assert_eq!(known(mode).unwrap(), "the access entries of the cluster are not known");
            let auth_mode = ObservedAuthMode::Known(ClusterAuthMode::parse(mode).unwrap());
            let mut state = State { auth_mode, ..State::default() };
            state.access_entries.status = AccessEntriesStatus::Known;
            assert_eq!(auth_mode_warning(&state), None);
        }
        let message = known("NEW_MODE").unwrap();
        assert_eq!(message, "the authentication mode NEW_MODE is not known to this version of rolecall");
        let message = warning(ObservedAuthMode::Unknown("you are not allowed".to_owned())).unwrap();
        assert_eq!(message, "the authentication mode of the cluster is not known");
        assert_eq!((ClusterAuthMode::parse("api"), ClusterAuthMode::parse("")), (None, None));
    }
}
