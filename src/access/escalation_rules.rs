//! The known privilege escalation rules: the permissions that each rule requires, and what a subject can do with them.
//!
//! Sources: kubernetes v1.36.3 `pkg/registry/rbac` (escalate, bind), `pkg/kubelet/server/auth.go` (nodes/proxy),
//! apiserver v0.36.3 `endpoints/filters/impersonation`; aws-iam-authenticator, which reads kube-system/aws-auth.

/// The scope in which a required permission must be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequiredScope {
    /// In any namespace. The path then exists in that namespace.
    AnyNamespace,
    /// Cluster-scoped, so through a ClusterRoleBinding.
    Cluster,
    /// In this namespace only.
    InNamespace(&'static str),
    /// In any scope in which the other required permissions are granted.
    Any,
    /// In the namespace that the request names. A request for a Namespace object has that object's own name as its
    /// namespace (k8s.io/apiserver v0.36.3 `endpoints/request/requestinfo.go`).
    NamedNamespace,
}

/// A required permission: at least one of these requests must be allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequiredAccess {
    pub(super) verbs: &'static [&'static str],
    pub(super) group: &'static str,
    pub(super) resources: &'static [&'static str],
    /// The name of the object. An empty list means every name, and requests without a name.
    pub(super) names: &'static [&'static str],
    pub(super) scope: RequiredScope,
}

/// A privilege escalation rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EscalationRule {
    pub(crate) name: &'static str,
    /// What the subject can do. The subject of the sentence is left out.
    pub(crate) consequence: &'static str,
    /// Every one of these must be allowed, in a common namespace.
    pub(super) requires: &'static [RequiredAccess],
}

const WRITE_VERBS: &[&str] = &["create", "update", "patch"];
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION_REGISTRATION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

pub(super) const AWS_AUTH: &str = "aws-auth";

const fn required(
    verbs: &'static [&'static str],
    group: &'static str,
    resources: &'static [&'static str],
    scope: RequiredScope,
) -> RequiredAccess {
    RequiredAccess { verbs, group, resources, names: &[], scope }
}

/// Every verb on every resource in some namespaces. It implies the other rules there, so they are not reported.
pub(super) static FULL_ADMIN: EscalationRule =
    EscalationRule { name: "full-admin", consequence: "equivalent to cluster-admin", requires: &[] };

/// In the order in which they are reported, the most direct first.
pub(super) static ESCALATION_RULES: [EscalationRule; 26] = [
    EscalationRule {
        name: AWS_AUTH,
        consequence: "can update the aws-auth ConfigMap and map any IAM principal to system:masters",
        requires: &[RequiredAccess {
            verbs: WRITE_VERBS,
            group: "",
            resources: &["configmaps"],
            names: &["aws-auth", ""],
            scope: RequiredScope::InNamespace("kube-system"),
        }],
    },
    EscalationRule {
        name: "escalate-cluster-roles",
        consequence: "can add permissions to a ClusterRole that it does not have itself",
        requires: &[
            required(&["escalate"], RBAC, &["clusterroles"], RequiredScope::Cluster),
            required(WRITE_VERBS, RBAC, &["clusterroles"], RequiredScope::Cluster),
        ],
    },
    EscalationRule {
        name: "escalate-roles",
        consequence: "can add permissions to a Role that it does not have itself",
        requires: &[
            required(&["escalate"], RBAC, &["roles"], RequiredScope::AnyNamespace),
            required(WRITE_VERBS, RBAC, &["roles"], RequiredScope::AnyNamespace),
        ],
    },
    EscalationRule {
        name: "bind-cluster-wide",
        consequence: "can bind itself to ClusterRoles that it does not have, including cluster-admin",
        requires: &[
            required(&["bind"], RBAC, &["clusterroles"], RequiredScope::Cluster),
            required(WRITE_VERBS, RBAC, &["clusterrolebindings"], RequiredScope::Cluster),
        ],
    },
    EscalationRule {
        name: "bind",
        consequence: "can bind itself in the namespace to Roles and ClusterRoles that it does not have, including cluster-admin",
        requires: &[
            required(&["bind"], RBAC, &["clusterroles", "roles"], RequiredScope::AnyNamespace),
            required(WRITE_VERBS, RBAC, &["rolebindings"], RequiredScope::AnyNamespace),
        ],
    },
    EscalationRule {
        name: "impersonate",
        consequence: "can impersonate other users and groups, including system:masters unless the rule lists names",
        requires: &[required(&["impersonate"], "", &["users", "groups"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "impersonate-service-accounts",
        consequence: "can impersonate the service accounts in the namespace",
        requires: &[required(&["impersonate"], "", &["serviceaccounts"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "impersonate-constrained",
        consequence: "can act as others in the requests that an additional impersonate-on permission allows",
        requires: &[required(
            &["impersonate:user-info", "impersonate:serviceaccount", "impersonate:arbitrary-node"],
            "authentication.k8s.io",
            &["users", "groups", "serviceaccounts", "nodes"],
            RequiredScope::Any,
        )],
    },
    EscalationRule {
        name: "nodes-proxy",
        consequence: "can run commands in every pod through the kubelet; get is enough, since exec is a GET request there",
        requires: &[required(&["get", "create"], "", &["nodes/proxy"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "tokens",
        consequence: "can create tokens for the service accounts in the namespace and act as them",
        requires: &[required(&["create"], "", &["serviceaccounts/token"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "secrets",
        consequence: "can read secrets, including service account tokens stored in them",
        requires: &[required(&["get", "list", "watch"], "", &["secrets"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "pods",
        consequence: "can create pods that run as any service account in the namespace and mount any secret in the namespace",
        requires: &[required(&["create", "update", "patch"], "", &["pods"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "workloads",
        consequence: "can create pods, through a controller, that run as any service account in the namespace",
        requires: &[required(
            WRITE_VERBS,
            "apps",
            &["daemonsets", "deployments", "replicasets", "statefulsets"],
            RequiredScope::AnyNamespace,
        )],
    },
    EscalationRule {
        name: "jobs",
        consequence: "can create pods, through a controller, that run as any service account in the namespace",
        requires: &[required(WRITE_VERBS, "batch", &["cronjobs", "jobs"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "replication-controllers",
        consequence: "can create pods, through a controller, that run as any service account in the namespace",
        requires: &[required(WRITE_VERBS, "", &["replicationcontrollers"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "exec",
        consequence: "can run commands in pods and use their service accounts; before Kubernetes 1.35, get is enough",
        requires: &[required(&["create", "get"], "", &["pods/exec", "pods/attach"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "ephemeral-containers",
        consequence: "can add containers to running pods and use their service accounts",
        requires: &[required(&["update", "patch"], "", &["pods/ephemeralcontainers"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "port-forward",
        consequence: "can connect to pod ports that no Service exposes and no NetworkPolicy allows",
        requires: &[required(&["create", "get"], "", &["pods/portforward"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "certificates",
        consequence: "can request a client certificate and approve it itself",
        requires: &[
            required(&["create"], CERTIFICATES, &["certificatesigningrequests"], RequiredScope::Cluster),
            required(
                &["update", "patch"],
                CERTIFICATES,
                &["certificatesigningrequests/approval"],
                RequiredScope::Cluster,
            ),
            required(&["approve"], CERTIFICATES, &["signers"], RequiredScope::Cluster),
        ],
    },
    EscalationRule {
        name: "webhooks",
        consequence: "can read or change what others write, through an admission webhook",
        requires: &[required(
            WRITE_VERBS,
            ADMISSION_REGISTRATION,
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            RequiredScope::Cluster,
        )],
    },
    EscalationRule {
        name: "admission-policies",
        consequence: "can weaken or remove admission policies",
        requires: &[required(
            &["create", "update", "patch", "delete", "deletecollection"],
            ADMISSION_REGISTRATION,
            &[
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
            ],
            RequiredScope::Cluster,
        )],
    },
    EscalationRule {
        name: "api-services",
        consequence: "can serve an API group from its own server, which then receives the requests of others",
        requires: &[required(WRITE_VERBS, "apiregistration.k8s.io", &["apiservices"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "conversion",
        consequence: "can read and change custom resources through a conversion webhook",
        requires: &[required(
            WRITE_VERBS,
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            RequiredScope::Cluster,
        )],
    },
    EscalationRule {
        name: "nodes",
        consequence: "can change labels and taints of nodes and so attract the pods of others to a chosen node",
        requires: &[required(&["update", "patch"], "", &["nodes"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "volumes",
        consequence: "can create volumes from directories of a node",
        requires: &[required(WRITE_VERBS, "", &["persistentvolumes"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "namespace-labels",
        consequence: "can change the namespace's labels, including its Pod Security level",
        requires: &[required(&["update", "patch"], "", &["namespaces"], RequiredScope::NamedNamespace)],
    },
];
