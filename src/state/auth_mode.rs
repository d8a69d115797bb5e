//! The authentication mode of an EKS cluster: which stores of principals it reads.
//!
//! Source: EKS API 2017-11-01, `AccessConfigResponse.authenticationMode`.

/// The longest mode that is kept.
const MAX_LENGTH: usize = 40;

/// Which stores of principals a cluster reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClusterAuthMode {
    /// Only aws-auth.
    ConfigMap,
    /// Access entries, and aws-auth for the principals that have none.
    ApiAndConfigMap,
    /// Only access entries.
    Api,
    /// A mode that this version of rolecall does not know.
    Other(String),
}

impl ClusterAuthMode {
    /// Reads a mode as the API of EKS writes it. `None` if the text cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_word = (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        match text {
            "CONFIG_MAP" => Some(Self::ConfigMap),
            "API_AND_CONFIG_MAP" => Some(Self::ApiAndConfigMap),
            "API" => Some(Self::Api),
            other => is_word.then(|| Self::Other(other.to_owned())),
        }
    }

    /// Returns whether a cluster in this mode has access entries. An unknown mode can have them.
    pub(crate) fn has_access_entries(&self) -> bool {
        *self != Self::ConfigMap
    }

    /// Returns whether EKS changes a cluster from this mode to the other one. It never changes one back.
    pub(crate) fn can_change_to(&self, other: &Self) -> bool {
        matches!((self, other), (Self::ConfigMap, Self::ApiAndConfigMap) | (Self::ApiAndConfigMap, Self::Api))
    }

    /// As the API of EKS writes it.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::ConfigMap => "CONFIG_MAP",
            Self::ApiAndConfigMap => "API_AND_CONFIG_MAP",
            Self::Api => "API",
            Self::Other(mode) => mode,
        }
    }
}

/// What is known of the mode of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ObservedAuthMode {
    /// EKS was not asked: the cluster was not selected by its name in EKS, or the snapshot has nothing of EKS.
    #[default]
    NotAsked,
    Known(ClusterAuthMode),
    /// The reason why EKS did not say it.
    Unknown(String),
}
