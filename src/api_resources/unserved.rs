//! Resources that rules name although an API server of Kubernetes 1.36 does not serve them by default.
//!
//! Sources: kubernetes v1.36.3 `plugin/pkg/auth/authorizer/rbac/bootstrappolicy` (the rules of the bootstrap roles);
//! k8s.io/apiserver v0.36.3 `pkg/endpoints/filters/impersonation` (impersonation); `pkg/kubelet/server/auth.go` (the
//! subresources of nodes); `pkg/registry/certificates` and `plugin/pkg/admission/certificates` (signers).

/// Resources without objects. The API server asks its authorizers about them when it serves other requests. The form is
/// that of [`super::builtin::TABLE`].
pub(super) const VIRTUAL: &str = "\
- groups group Group - c impersonate
- users user User - c impersonate
authentication.k8s.io groups group Group - c impersonate
authentication.k8s.io nodes node Node - c impersonate
authentication.k8s.io serviceaccounts serviceaccount ServiceAccount - n impersonate
authentication.k8s.io uids uid UID - c impersonate
authentication.k8s.io userextras userextra UserExtra - c impersonate
authentication.k8s.io users user User - c impersonate
certificates.k8s.io signers signer Signer - c approve,attest,sign
";

/// Resources of APIs that are optional, removed or served by a well-known add-on. The form is that of
/// [`super::builtin::TABLE`].
pub(super) const OPTIONAL: &str = "\
certificates.k8s.io clustertrustbundles clustertrustbundle ClusterTrustBundle - c create,delete,deletecollection,get,list,patch,update,watch
certificates.k8s.io podcertificaterequests podcertificaterequest PodCertificateRequest - n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
coordination.k8s.io leasecandidates leasecandidate LeaseCandidate - n create,delete,deletecollection,get,list,patch,update,watch
extensions daemonsets daemonset DaemonSet ds n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
extensions deployments deployment Deployment deploy n create,delete,deletecollection,get,list,patch,update,watch rollback:create scale:get,patch,update status:get,patch,update
extensions ingresses ingress Ingress ing n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
extensions networkpolicies networkpolicy NetworkPolicy netpol n create,delete,deletecollection,get,list,patch,update,watch
extensions podsecuritypolicies podsecuritypolicy PodSecurityPolicy psp c create,delete,deletecollection,get,list,patch,update,use,watch
extensions replicasets replicaset ReplicaSet rs n create,delete,deletecollection,get,list,patch,update,watch scale:get,patch,update status:get,patch,update
extensions replicationcontrollers replicationcontroller ReplicationController rc n get scale:get,patch,update
metrics.k8s.io nodes node NodeMetrics - c get,list,watch
metrics.k8s.io pods pod PodMetrics - n get,list,watch
policy podsecuritypolicies podsecuritypolicy PodSecurityPolicy psp c create,delete,deletecollection,get,list,patch,update,use,watch
resource.k8s.io devicetaintrules devicetaintrule DeviceTaintRule - c create,delete,deletecollection,get,list,patch,update,watch
scheduling.k8s.io podgroups podgroup PodGroup - n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
scheduling.k8s.io workloads workload Workload - n create,delete,deletecollection,get,list,patch,update,watch
";

/// Verbs that authorizers are asked about beside the verbs that the discovery of a resource lists.
pub(super) const EXTRA_VERBS: [(&str, &str, &str); 5] = [
    ("", "serviceaccounts", "impersonate"),
    ("rbac.authorization.k8s.io", "clusterroles", "bind"),
    ("rbac.authorization.k8s.io", "clusterroles", "escalate"),
    ("rbac.authorization.k8s.io", "roles", "bind"),
    ("rbac.authorization.k8s.io", "roles", "escalate"),
];

/// Subresources that authorizers are asked about and that discovery does not list. The resource is in the core group
/// unless the group is given.
pub(super) const EXTRA_SUBRESOURCES: [(&str, &str, &str); 16] = [
    ("", "endpoints", "restricted"),
    ("", "nodes", "checkpoint"),
    ("", "nodes", "configz"),
    ("", "nodes", "healthz"),
    ("", "nodes", "log"),
    ("", "nodes", "metrics"),
    ("", "nodes", "pods"),
    ("", "nodes", "spec"),
    ("", "nodes", "stats"),
    ("", "persistentvolumes", "finalizers"),
    ("apps", "deployments", "rollback"),
    ("certificates.k8s.io", "certificatesigningrequests", "nodeclient"),
    ("certificates.k8s.io", "certificatesigningrequests", "selfnodeclient"),
    ("discovery.k8s.io", "endpointslices", "restricted"),
    ("resource.k8s.io", "resourceclaims", "binding"),
    ("resource.k8s.io", "resourceclaims", "driver"),
];

/// The admission plugin OwnerReferencesPermissionEnforcement asks for `update` on this subresource of every resource.
pub(super) const FINALIZERS: &str = "finalizers";
