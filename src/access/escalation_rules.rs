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
    /// `*` means every group.
    pub(super) group: &'static str,
    pub(super) resources: &'static [&'static str],
    /// The names of the object. An empty list means every name.
    pub(super) names: &'static [&'static str],
    pub(super) scope: RequiredScope,
}

/// What the requests of all required permissions of a rule must have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommonTarget {
    Nothing,
    Namespace,
    /// The namespace and the name: the API server checks the verb `escalate` for the object that is written.
    Object,
}

/// A privilege escalation rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EscalationRule {
    pub(crate) name: &'static str,
    /// What the subject can do. The subject of the sentence is left out.
    pub(crate) consequence: &'static str,
    /// Every one of these must be allowed.
    pub(super) requires: &'static [RequiredAccess],
    pub(super) common: CommonTarget,
}

const WRITE_VERBS: &[&str] = &["create", "update", "patch"];
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION_REGISTRATION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
/// The second check of constrained impersonation: the verb of the request that is made as the other user.
const IMPERSONATE_ON_USER_INFO: &[&str] = &[
    "impersonate-on:user-info:create",
    "impersonate-on:user-info:delete",
    "impersonate-on:user-info:deletecollection",
    "impersonate-on:user-info:get",
    "impersonate-on:user-info:list",
    "impersonate-on:user-info:patch",
    "impersonate-on:user-info:update",
    "impersonate-on:user-info:watch",
];
const IMPERSONATE_ON_SERVICE_ACCOUNT: &[&str] = &[
    "impersonate-on:serviceaccount:create",
    "impersonate-on:serviceaccount:delete",
    "impersonate-on:serviceaccount:deletecollection",
    "impersonate-on:serviceaccount:get",
    "impersonate-on:serviceaccount:list",
    "impersonate-on:serviceaccount:patch",
    "impersonate-on:serviceaccount:update",
    "impersonate-on:serviceaccount:watch",
];
const IMPERSONATE_ON_NODE: &[&str] = &[
    "impersonate-on:arbitrary-node:create",
    "impersonate-on:arbitrary-node:delete",
    "impersonate-on:arbitrary-node:deletecollection",
    "impersonate-on:arbitrary-node:get",
    "impersonate-on:arbitrary-node:list",
    "impersonate-on:arbitrary-node:patch",
    "impersonate-on:arbitrary-node:update",
    "impersonate-on:arbitrary-node:watch",
];

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
pub(super) static FULL_ADMIN: EscalationRule = EscalationRule {
    name: "full-admin",
    consequence: "equivalent to cluster-admin",
    requires: &[],
    common: CommonTarget::Namespace,
};

/// In the order in which they are reported, the most direct first.
pub(super) static ESCALATION_RULES: [EscalationRule; 31] = [
    EscalationRule {
        name: AWS_AUTH,
        consequence: "can update the aws-auth ConfigMap and map any IAM principal to system:masters",
        requires: &[RequiredAccess {
            verbs: WRITE_VERBS,
            group: "",
            resources: &["configmaps"],
            names: &["aws-auth"],
            scope: RequiredScope::InNamespace("kube-system"),
        }],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "escalate-cluster-roles",
        consequence: "can add permissions to a ClusterRole that it does not have itself",
        requires: &[
            required(&["escalate"], RBAC, &["clusterroles"], RequiredScope::Cluster),
            required(WRITE_VERBS, RBAC, &["clusterroles"], RequiredScope::Cluster),
        ],
        common: CommonTarget::Object,
    },
    EscalationRule {
        name: "escalate-roles",
        consequence: "can add permissions to a Role that it does not have itself",
        requires: &[
            required(&["escalate"], RBAC, &["roles"], RequiredScope::AnyNamespace),
            required(WRITE_VERBS, RBAC, &["roles"], RequiredScope::AnyNamespace),
        ],
        common: CommonTarget::Object,
    },
    EscalationRule {
        name: "bind-cluster-wide",
        consequence: "can bind itself to ClusterRoles that it does not have, including cluster-admin",
        requires: &[
            required(&["bind"], RBAC, &["clusterroles"], RequiredScope::Cluster),
            required(WRITE_VERBS, RBAC, &["clusterrolebindings"], RequiredScope::Cluster),
        ],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "bind",
        consequence: "can bind itself in the namespace to Roles and ClusterRoles that it does not have, including cluster-admin",
        requires: &[
            required(&["bind"], RBAC, &["clusterroles", "roles"], RequiredScope::AnyNamespace),
            required(WRITE_VERBS, RBAC, &["rolebindings"], RequiredScope::AnyNamespace),
        ],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "impersonate",
        consequence: "can impersonate other users unless the rule lists names, and groups if it has these too",
        requires: &[required(&["impersonate"], "", &["users"], RequiredScope::Cluster)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "impersonate-groups",
        consequence: "can impersonate groups together with a service account, including system:masters unless the rule lists names",
        requires: &[
            required(&["impersonate"], "", &["groups"], RequiredScope::Cluster),
            required(&["impersonate"], "", &["serviceaccounts"], RequiredScope::AnyNamespace),
        ],
        common: CommonTarget::Nothing,
    },
    EscalationRule {
        name: "impersonate-service-accounts",
        consequence: "can impersonate the service accounts in the namespace",
        requires: &[required(&["impersonate"], "", &["serviceaccounts"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "impersonate-constrained",
        consequence: "can act as other users in some requests",
        requires: &[
            required(&["impersonate:user-info"], AUTHENTICATION, &["users"], RequiredScope::Cluster),
            required(IMPERSONATE_ON_USER_INFO, "*", &["*"], RequiredScope::Any),
        ],
        common: CommonTarget::Nothing,
    },
    EscalationRule {
        name: "impersonate-constrained-service-accounts",
        consequence: "can act as service accounts in some requests",
        requires: &[
            required(
                &["impersonate:serviceaccount"],
                AUTHENTICATION,
                &["serviceaccounts"],
                RequiredScope::AnyNamespace,
            ),
            required(IMPERSONATE_ON_SERVICE_ACCOUNT, "*", &["*"], RequiredScope::Any),
        ],
        common: CommonTarget::Nothing,
    },
    EscalationRule {
        name: "impersonate-constrained-nodes",
        consequence: "can act as nodes in some requests",
        requires: &[
            required(&["impersonate:arbitrary-node"], AUTHENTICATION, &["nodes"], RequiredScope::Cluster),
            required(IMPERSONATE_ON_NODE, "*", &["*"], RequiredScope::Any),
        ],
        common: CommonTarget::Nothing,
    },
    EscalationRule {
        name: "nodes-proxy",
        consequence: "can run commands in every pod through the kubelet; get is enough, since exec is a GET request there",
        requires: &[required(&["get", "create"], "", &["nodes/proxy"], RequiredScope::Cluster)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "tokens",
        consequence: "can create tokens for the service accounts in the namespace and act as them",
        requires: &[required(&["create"], "", &["serviceaccounts/token"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "secrets",
        consequence: "can read secrets, including service account tokens stored in them",
        requires: &[required(&["get", "list", "watch"], "", &["secrets"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "pods",
        consequence: "can create pods that run as any service account in the namespace and mount any secret in the namespace",
        requires: &[required(&["create", "update", "patch"], "", &["pods"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
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
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "jobs",
        // The pod template of a Job is immutable.
        consequence: "can create pods, through a controller, that run as any service account in the namespace",
        requires: &[required(&["create"], "batch", &["jobs"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "cron-jobs",
        consequence: "can create pods, through a controller, that run as any service account in the namespace",
        requires: &[required(WRITE_VERBS, "batch", &["cronjobs"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "replication-controllers",
        consequence: "can create pods, through a controller, that run as any service account in the namespace",
        requires: &[required(WRITE_VERBS, "", &["replicationcontrollers"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "exec",
        consequence: "can run commands in pods and use their service accounts; before Kubernetes 1.35, get is enough",
        requires: &[required(&["create", "get"], "", &["pods/exec", "pods/attach"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "ephemeral-containers",
        consequence: "can add containers to running pods and use their service accounts",
        requires: &[required(&["update", "patch"], "", &["pods/ephemeralcontainers"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "port-forward",
        consequence: "can connect to pod ports that no Service exposes and no NetworkPolicy allows; before Kubernetes 1.35, get is enough",
        requires: &[required(&["create", "get"], "", &["pods/portforward"], RequiredScope::AnyNamespace)],
        common: CommonTarget::Namespace,
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
        common: CommonTarget::Namespace,
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
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "admission-policies",
        consequence: "can weaken or remove admission policies",
        requires: &[required(
            &["update", "patch", "delete", "deletecollection"],
            ADMISSION_REGISTRATION,
            &[
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
            ],
            RequiredScope::Cluster,
        )],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "mutating-admission-policies",
        consequence: "can change what others write, through an admission policy",
        requires: &[
            required(&["create"], ADMISSION_REGISTRATION, &["mutatingadmissionpolicies"], RequiredScope::Cluster),
            required(&["create"], ADMISSION_REGISTRATION, &["mutatingadmissionpolicybindings"], RequiredScope::Cluster),
        ],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "api-services",
        consequence: "can serve an API group from its own server, which then receives the requests of others",
        requires: &[required(WRITE_VERBS, "apiregistration.k8s.io", &["apiservices"], RequiredScope::Cluster)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "conversion",
        consequence: "can read and change custom resources through a conversion webhook",
        requires: &[required(
            &["update", "patch"],
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            RequiredScope::Cluster,
        )],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "nodes",
        consequence: "can change labels and taints of nodes and so attract the pods of others to a chosen node",
        requires: &[required(&["update", "patch"], "", &["nodes"], RequiredScope::Cluster)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "volumes",
        // The source of a PersistentVolume is immutable.
        consequence: "can create volumes from directories of a node",
        requires: &[required(&["create"], "", &["persistentvolumes"], RequiredScope::Cluster)],
        common: CommonTarget::Namespace,
    },
    EscalationRule {
        name: "namespace-labels",
        consequence: "can change the namespace's labels, including its Pod Security level",
        requires: &[required(&["update", "patch"], "", &["namespaces"], RequiredScope::NamedNamespace)],
        common: CommonTarget::Namespace,
    },
];
