//! The known ways from what somebody may do to more, each with what it needs and where it leads.
//!
//! Sources: kubernetes v1.36.3 `pkg/registry/rbac` (escalate, bind), `pkg/kubelet/server/auth.go` (nodes/proxy),
//! apiserver v0.36.3 `endpoints/filters/impersonation`; aws-iam-authenticator, which reads kube-system/aws-auth.

/// Where a need must be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequiredScope {
    /// In any namespace: the way is open there.
    AnyNamespace,
    /// Outside namespaces, so through a ClusterRoleBinding.
    Cluster,
    /// In this namespace alone.
    InNamespace(&'static str),
    /// Wherever the other needs of the way are met.
    Any,
    /// In the namespace that the request names: the URL of a Namespace says so.
    NamedNamespace,
}

/// Requests of which one must be allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequiredAccess {
    pub(super) verbs: &'static [&'static str],
    pub(super) group: &'static str,
    pub(super) resources: &'static [&'static str],
    /// Empty: any, and none.
    pub(super) names: &'static [&'static str],
    pub(super) scope: RequiredScope,
}

/// A way to more power.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EscalationRule {
    pub(crate) name: &'static str,
    /// Where it leads, as the end of "whoever may do this …".
    pub(crate) consequence: &'static str,
    /// All of them must be met.
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
    place: RequiredScope,
) -> RequiredAccess {
    RequiredAccess { verbs, group, resources, names: &[], scope: place }
}

/// All of everything in some place: every other way there is part of it.
pub(super) static EVERYTHING: EscalationRule = EscalationRule {
    name: "everything",
    consequence: "may do everything there, all other ways up among it",
    requires: &[],
};

/// In the order in which they are told, the shortest first.
pub(super) static ESCALATION_RULES: [EscalationRule; 26] = [
    EscalationRule {
        name: AWS_AUTH,
        consequence: "writes aws-auth, and so makes any AWS principal system:masters",
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
        consequence: "writes into a ClusterRole what nobody gave him",
        requires: &[
            required(&["escalate"], RBAC, &["clusterroles"], RequiredScope::Cluster),
            required(WRITE_VERBS, RBAC, &["clusterroles"], RequiredScope::Cluster),
        ],
    },
    EscalationRule {
        name: "escalate-roles",
        consequence: "writes into a Role what nobody gave him",
        requires: &[
            required(&["escalate"], RBAC, &["roles"], RequiredScope::AnyNamespace),
            required(WRITE_VERBS, RBAC, &["roles"], RequiredScope::AnyNamespace),
        ],
    },
    EscalationRule {
        name: "bind-cluster-wide",
        consequence: "binds himself to ClusterRoles that he does not hold, cluster-admin among them",
        requires: &[
            required(&["bind"], RBAC, &["clusterroles"], RequiredScope::Cluster),
            required(WRITE_VERBS, RBAC, &["clusterrolebindings"], RequiredScope::Cluster),
        ],
    },
    EscalationRule {
        name: "bind",
        consequence: "binds himself in the namespace to roles that he does not hold, cluster-admin among them",
        requires: &[
            required(&["bind"], RBAC, &["clusterroles", "roles"], RequiredScope::AnyNamespace),
            required(WRITE_VERBS, RBAC, &["rolebindings"], RequiredScope::AnyNamespace),
        ],
    },
    EscalationRule {
        name: "impersonate",
        consequence: "acts as other users and groups, system:masters among them where groups are not limited by name",
        requires: &[required(&["impersonate"], "", &["users", "groups"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "impersonate-service-accounts",
        consequence: "acts as the service accounts of the namespace",
        requires: &[required(&["impersonate"], "", &["serviceaccounts"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "impersonate-constrained",
        consequence: "acts as others in those requests for which an impersonate-on right stands beside it",
        requires: &[required(
            &["impersonate:user-info", "impersonate:serviceaccount", "impersonate:arbitrary-node"],
            "authentication.k8s.io",
            &["users", "groups", "serviceaccounts", "nodes"],
            RequiredScope::Any,
        )],
    },
    EscalationRule {
        name: "nodes-proxy",
        consequence: "reaches the kubelet, which runs commands in every pod: a get is enough, since exec is a GET there",
        requires: &[required(&["get", "create"], "", &["nodes/proxy"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "tokens",
        consequence: "makes tokens of the service accounts of the namespace and acts as them",
        requires: &[required(&["create"], "", &["serviceaccounts/token"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "secrets",
        consequence: "reads secrets, and with them the tokens of service accounts and what else is kept there",
        requires: &[required(&["get", "list", "watch"], "", &["secrets"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "pods",
        consequence: "runs pods as any service account of the namespace, with any of its secrets in them",
        requires: &[required(&["create", "update", "patch"], "", &["pods"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "workloads",
        consequence: "has controllers run pods as any service account of the namespace",
        requires: &[required(
            WRITE_VERBS,
            "apps",
            &["daemonsets", "deployments", "replicasets", "statefulsets"],
            RequiredScope::AnyNamespace,
        )],
    },
    EscalationRule {
        name: "jobs",
        consequence: "has controllers run pods as any service account of the namespace",
        requires: &[required(WRITE_VERBS, "batch", &["cronjobs", "jobs"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "replication-controllers",
        consequence: "has controllers run pods as any service account of the namespace",
        requires: &[required(WRITE_VERBS, "", &["replicationcontrollers"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "exec",
        consequence: "runs commands in pods, with their service accounts; before Kubernetes 1.35 a get is enough",
        requires: &[required(&["create", "get"], "", &["pods/exec", "pods/attach"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "ephemeral-containers",
        consequence: "puts containers of his own into running pods, with their service accounts",
        requires: &[required(&["update", "patch"], "", &["pods/ephemeralcontainers"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "port-forward",
        consequence: "reaches ports of pods that no service and no network policy opens",
        requires: &[required(&["create", "get"], "", &["pods/portforward"], RequiredScope::AnyNamespace)],
    },
    EscalationRule {
        name: "certificates",
        consequence: "asks for a client certificate and approves it himself",
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
        consequence: "has the API server send him what others write, or let him change it",
        requires: &[required(
            WRITE_VERBS,
            ADMISSION_REGISTRATION,
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            RequiredScope::Cluster,
        )],
    },
    EscalationRule {
        name: "admission-policies",
        consequence: "changes or takes away what admission policies forbid",
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
        consequence: "puts a server of his own behind an API group, which then gets the requests of others",
        requires: &[required(WRITE_VERBS, "apiregistration.k8s.io", &["apiservices"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "conversion",
        consequence: "has a webhook of his own convert custom resources, which then sees and changes them",
        requires: &[required(
            WRITE_VERBS,
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            RequiredScope::Cluster,
        )],
    },
    EscalationRule {
        name: "nodes",
        consequence: "changes labels and taints of nodes, and so draws the pods of others to a node",
        requires: &[required(&["update", "patch"], "", &["nodes"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "volumes",
        consequence: "makes volumes of directories of the node",
        requires: &[required(WRITE_VERBS, "", &["persistentvolumes"], RequiredScope::Cluster)],
    },
    EscalationRule {
        name: "namespace-labels",
        consequence: "changes the namespace's labels, and with them what Pod Security forbids there",
        requires: &[required(&["update", "patch"], "", &["namespaces"], RequiredScope::NamedNamespace)],
    },
];
