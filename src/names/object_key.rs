//! The key of an object: kind, namespace and name.

use std::fmt;

/// The kinds of object that decide about access. They are displayed in this order, and created in this order, so that roles
/// exist before their bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ObjectKind {
    Namespace,
    ConfigMap,
    /// An access entry of EKS. Its name is the ARN of its principal.
    AccessEntry,
    ClusterRole,
    Role,
    /// An access policy of EKS. AWS defines it.
    AccessPolicy,
    ClusterRoleBinding,
    RoleBinding,
    /// The association of an access entry with an access policy. It is written as a part of the entry.
    AccessPolicyAssociation,
}

impl ObjectKind {
    /// The kinds of the API of Kubernetes.
    pub(crate) const KUBERNETES: [Self; 6] =
        [Self::Namespace, Self::ConfigMap, Self::ClusterRole, Self::Role, Self::ClusterRoleBinding, Self::RoleBinding];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ConfigMap => "ConfigMap",
            Self::AccessEntry => "AccessEntry",
            Self::ClusterRole => "ClusterRole",
            Self::Role => "Role",
            Self::AccessPolicy => "AccessPolicy",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::RoleBinding => "RoleBinding",
            Self::AccessPolicyAssociation => "AccessPolicyAssociation",
        }
    }

    /// Returns the kind as in the text of a plan, such as `access entry` or `ClusterRole`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::AccessEntry => "access entry",
            Self::AccessPolicy => "access policy",
            Self::AccessPolicyAssociation => "access policy association",
            Self::Namespace
            | Self::ConfigMap
            | Self::ClusterRole
            | Self::Role
            | Self::ClusterRoleBinding
            | Self::RoleBinding => self.as_str(),
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::ConfigMap => "v1",
            Self::ClusterRole | Self::Role | Self::ClusterRoleBinding | Self::RoleBinding => {
                "rbac.authorization.k8s.io/v1"
            }
            Self::AccessEntry | Self::AccessPolicy | Self::AccessPolicyAssociation => "rolecall/v1",
        }
    }

    /// Returns the plural name, for a kind of Kubernetes as in REST paths and RBAC rules.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::ConfigMap => "configmaps",
            Self::AccessEntry => "access entries",
            Self::AccessPolicy => "access policies",
            Self::AccessPolicyAssociation => "access policy associations",
            Self::ClusterRole => "clusterroles",
            Self::Role => "roles",
            Self::ClusterRoleBinding => "clusterrolebindings",
            Self::RoleBinding => "rolebindings",
        }
    }

    pub(crate) fn is_namespaced(self) -> bool {
        match self {
            Self::ConfigMap | Self::Role | Self::RoleBinding => true,
            Self::Namespace
            | Self::AccessEntry
            | Self::ClusterRole
            | Self::AccessPolicy
            | Self::ClusterRoleBinding
            | Self::AccessPolicyAssociation => false,
        }
    }

    /// Returns the kinds that a policy can define, and that an exclusive policy removes.
    pub(crate) fn is_rbac(self) -> bool {
        match self {
            Self::ClusterRole | Self::Role | Self::ClusterRoleBinding | Self::RoleBinding => true,
            Self::Namespace
            | Self::ConfigMap
            | Self::AccessEntry
            | Self::AccessPolicy
            | Self::AccessPolicyAssociation => false,
        }
    }

    /// Returns the kind of a document. Access policies and their associations are no documents of their own.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::KUBERNETES.into_iter().chain([Self::AccessEntry]).find(|kind| kind.as_str() == word)
    }
}

/// The key of one object in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectKey {
    kind: ObjectKind,
    namespace: Option<Box<str>>,
    name: Box<str>,
}

impl ObjectKey {
    /// `None` if a namespaced kind has no namespace, or a cluster-scoped kind has one.
    pub(crate) fn new(kind: ObjectKind, namespace: Option<&str>, name: &str) -> Option<Self> {
        let namespace = namespace.filter(|ns| !ns.is_empty());
        (kind.is_namespaced() == namespace.is_some()).then(|| Self {
            kind,
            namespace: namespace.map(Into::into),
            name: name.into(),
        })
    }

    /// Returns the key of an object without a namespace.
    pub(crate) fn cluster_scoped(kind: ObjectKind, name: &str) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    pub(crate) fn aws_auth() -> Self {
        Self { kind: ObjectKind::ConfigMap, namespace: Some("kube-system".into()), name: "aws-auth".into() }
    }

    pub(crate) fn cluster_role(name: &str) -> Self {
        Self { kind: ObjectKind::ClusterRole, namespace: None, name: name.into() }
    }

    pub(crate) fn role(namespace: &str, name: &str) -> Self {
        Self { kind: ObjectKind::Role, namespace: Some(namespace.into()), name: name.into() }
    }

    /// Returns a RoleBinding if there is a namespace, otherwise a ClusterRoleBinding.
    pub(crate) fn binding(namespace: Option<&str>, name: &str) -> Self {
        Self {
            kind: match namespace {
                Some(_) => ObjectKind::RoleBinding,
                None => ObjectKind::ClusterRoleBinding,
            },
            namespace: namespace.map(Into::into),
            name: name.into(),
        }
    }

    /// Returns the same kind and namespace with another name.
    pub(crate) fn with_name(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    pub(crate) fn kind(&self) -> ObjectKind {
        self.kind
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Kind, namespace and name. Compares as the key itself does.
    pub(crate) fn parts(&self) -> (ObjectKind, Option<&str>, &str) {
        (self.kind, self.namespace(), self.name())
    }

    /// `name` or `namespace/name`.
    pub(crate) fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.to_string(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.label(), self.path())
    }
}
