//! The known ways from what somebody may do to more, each with what it needs and where it leads.
//!
//! Sources: kubernetes v1.36.3 `pkg/registry/rbac` (escalate, bind), `pkg/kubelet/server/auth.go` (nodes/proxy),
//! apiserver v0.36.3 `endpoints/filters/impersonation`; aws-iam-authenticator, which reads kube-system/aws-auth.

/// Where a need must be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In any namespace: the way is open there.
    Namespace,
    /// Outside namespaces, so through a ClusterRoleBinding.
    Cluster,
    /// In this namespace alone.
    In(&'static str),
    /// Wherever the other needs of the way are met.
    Any,
    /// In the namespace that the request names: the URL of a Namespace says so.
    Itself,
}

/// Requests of which one must be allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) verbs: &'static [&'static str],
    pub(super) group: &'static str,
    pub(super) resources: &'static [&'static str],
    /// Empty: any, and none.
    pub(super) names: &'static [&'static str],
    pub(super) place: Place,
}

/// A way to more power.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Where it leads, as the end of "whoever may do this …".
    pub(crate) path: &'static str,
    /// All of them must be met.
    pub(super) needs: &'static [Need],
}

const WRITE: &[&str] = &["create", "update", "patch"];
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

pub(super) const AWS_AUTH: &str = "aws-auth";

const fn need(
    verbs: &'static [&'static str],
    group: &'static str,
    resources: &'static [&'static str],
    place: Place,
) -> Need {
    Need { verbs, group, resources, names: &[], place }
}

/// All of everything in some place: every other way there is part of it.
pub(super) static EVERYTHING: Way =
    Way { name: "everything", path: "may do everything there, all other ways up among it", needs: &[] };

/// In the order in which they are told, the shortest first.
pub(super) static WAYS: [Way; 26] = [
    Way {
        name: AWS_AUTH,
        path: "writes aws-auth, and so makes any AWS principal system:masters",
        needs: &[Need {
            verbs: WRITE,
            group: "",
            resources: &["configmaps"],
            names: &["aws-auth", ""],
            place: Place::In("kube-system"),
        }],
    },
    Way {
        name: "escalate-cluster-roles",
        path: "writes into a ClusterRole what nobody gave him",
        needs: &[
            need(&["escalate"], RBAC, &["clusterroles"], Place::Cluster),
            need(WRITE, RBAC, &["clusterroles"], Place::Cluster),
        ],
    },
    Way {
        name: "escalate-roles",
        path: "writes into a Role what nobody gave him",
        needs: &[
            need(&["escalate"], RBAC, &["roles"], Place::Namespace),
            need(WRITE, RBAC, &["roles"], Place::Namespace),
        ],
    },
    Way {
        name: "bind-cluster-wide",
        path: "binds himself to ClusterRoles that he does not hold, cluster-admin among them",
        needs: &[
            need(&["bind"], RBAC, &["clusterroles"], Place::Cluster),
            need(WRITE, RBAC, &["clusterrolebindings"], Place::Cluster),
        ],
    },
    Way {
        name: "bind",
        path: "binds himself in the namespace to roles that he does not hold, cluster-admin among them",
        needs: &[
            need(&["bind"], RBAC, &["clusterroles", "roles"], Place::Namespace),
            need(WRITE, RBAC, &["rolebindings"], Place::Namespace),
        ],
    },
    Way {
        name: "impersonate",
        path: "acts as other users and groups, system:masters among them where groups are not limited by name",
        needs: &[need(&["impersonate"], "", &["users", "groups"], Place::Cluster)],
    },
    Way {
        name: "impersonate-service-accounts",
        path: "acts as the service accounts of the namespace",
        needs: &[need(&["impersonate"], "", &["serviceaccounts"], Place::Namespace)],
    },
    Way {
        name: "impersonate-constrained",
        path: "acts as others in those requests for which an impersonate-on right stands beside it",
        needs: &[need(
            &["impersonate:user-info", "impersonate:serviceaccount", "impersonate:arbitrary-node"],
            "authentication.k8s.io",
            &["users", "groups", "serviceaccounts", "nodes"],
            Place::Any,
        )],
    },
    Way {
        name: "nodes-proxy",
        path: "reaches the kubelet, which runs commands in every pod: a get is enough, since exec is a GET there",
        needs: &[need(&["get", "create"], "", &["nodes/proxy"], Place::Cluster)],
    },
    Way {
        name: "tokens",
        path: "makes tokens of the service accounts of the namespace and acts as them",
        needs: &[need(&["create"], "", &["serviceaccounts/token"], Place::Namespace)],
    },
    Way {
        name: "secrets",
        path: "reads secrets, and with them the tokens of service accounts and what else is kept there",
        needs: &[need(&["get", "list", "watch"], "", &["secrets"], Place::Namespace)],
    },
    Way {
        name: "pods",
        path: "runs pods as any service account of the namespace, with any of its secrets in them",
        needs: &[need(&["create", "update", "patch"], "", &["pods"], Place::Namespace)],
    },
    Way {
        name: "workloads",
        path: "has controllers run pods as any service account of the namespace",
        needs: &[need(WRITE, "apps", &["daemonsets", "deployments", "replicasets", "statefulsets"], Place::Namespace)],
    },
    Way {
        name: "jobs",
        path: "has controllers run pods as any service account of the namespace",
        needs: &[need(WRITE, "batch", &["cronjobs", "jobs"], Place::Namespace)],
    },
    Way {
        name: "replication-controllers",
        path: "has controllers run pods as any service account of the namespace",
        needs: &[need(WRITE, "", &["replicationcontrollers"], Place::Namespace)],
    },
    Way {
        name: "exec",
        path: "runs commands in pods, with their service accounts; before Kubernetes 1.35 a get is enough",
        needs: &[need(&["create", "get"], "", &["pods/exec", "pods/attach"], Place::Namespace)],
    },
    Way {
        name: "ephemeral-containers",
        path: "puts containers of his own into running pods, with their service accounts",
        needs: &[need(&["update", "patch"], "", &["pods/ephemeralcontainers"], Place::Namespace)],
    },
    Way {
        name: "port-forward",
        path: "reaches ports of pods that no service and no network policy opens",
        needs: &[need(&["create", "get"], "", &["pods/portforward"], Place::Namespace)],
    },
    Way {
        name: "certificates",
        path: "asks for a client certificate and approves it himself",
        needs: &[
            need(&["create"], CERTIFICATES, &["certificatesigningrequests"], Place::Cluster),
            need(&["update", "patch"], CERTIFICATES, &["certificatesigningrequests/approval"], Place::Cluster),
            need(&["approve"], CERTIFICATES, &["signers"], Place::Cluster),
        ],
    },
    Way {
        name: "webhooks",
        path: "has the API server send him what others write, or let him change it",
        needs: &[need(
            WRITE,
            ADMISSION,
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            Place::Cluster,
        )],
    },
    Way {
        name: "admission-policies",
        path: "changes or takes away what admission policies forbid",
        needs: &[need(
            &["create", "update", "patch", "delete", "deletecollection"],
            ADMISSION,
            &[
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
            ],
            Place::Cluster,
        )],
    },
    Way {
        name: "api-services",
        path: "puts a server of his own behind an API group, which then gets the requests of others",
        needs: &[need(WRITE, "apiregistration.k8s.io", &["apiservices"], Place::Cluster)],
    },
    Way {
        name: "conversion",
        path: "has a webhook of his own convert custom resources, which then sees and changes them",
        needs: &[need(WRITE, "apiextensions.k8s.io", &["customresourcedefinitions"], Place::Cluster)],
    },
    Way {
        name: "nodes",
        path: "changes labels and taints of nodes, and so draws the pods of others to a node",
        needs: &[need(&["update", "patch"], "", &["nodes"], Place::Cluster)],
    },
    Way {
        name: "volumes",
        path: "makes volumes of directories of the node",
        needs: &[need(WRITE, "", &["persistentvolumes"], Place::Cluster)],
    },
    Way {
        name: "namespace-labels",
        path: "changes the namespace's labels, and with them what Pod Security forbids there",
        needs: &[need(&["update", "patch"], "", &["namespaces"], Place::Itself)],
    },
];
