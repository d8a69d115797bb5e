//! The identities of the control plane, which `everyone-but` never includes.
//!
//! The list is exact: another name with the same prefix, such as `system:mine`, is checked like any other name, and so is
//! every identity that an aws-auth entry gives. docs/explanations/guards.md shows the list.
//!
//! Sources: kubernetes v1.36.3 `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`, `namespace_policy.go` and
//! `controller_policy.go`; k8s.io/apiserver v0.36.3 `pkg/authentication/user/user.go`; Amazon EKS User Guide, "Understand
//! Amazon EKS created RBAC roles and users", and the users of the bindings `eks:*` that EKS creates, which the audit logs of
//! clusters of 2026 name as callers.

pub(super) const USERS: [&str; 22] = [
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-proxy",
    "system:kube-scheduler",
    "eks:addon-manager",
    "eks:authenticator",
    "eks:az-poller",
    "eks:certificate-controller",
    "eks:cloud-controller-manager",
    "eks:cluster-bootstrap",
    "eks:cluster-event-watcher",
    "eks:coredns-autoscaler",
    "eks:fargate-manager",
    "eks:fargate-scheduler",
    "eks:k8s-metrics",
    "eks:network-policy-controller",
    "eks:node-manager",
    "eks:nodewatcher",
    "eks:pod-identity-mutating-webhook",
    "eks:service-operations",
    "eks:support-engineer",
    "eks:vpc-resource-controller",
];

/// The members of `system:masters` are checked where an aws-auth entry gives the group.
pub(super) const GROUPS: [&str; 2] = ["system:masters", "system:monitoring"];

/// The service accounts of the controllers, all in the namespace `kube-system`.
pub(super) const CONTROLLER_NAMESPACE: &str = "kube-system";
pub(super) const CONTROLLERS: [&str; 50] = [
    "attachdetach-controller",
    "bootstrap-signer",
    "certificate-controller",
    "cloud-provider",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher",
    "kube-controller-manager",
    "kube-scheduler",
    "leader-election-controller",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "podcertificaterequestcleaner",
    "podgroup-protection-controller",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcepoolstatusrequest-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "storage-version-garbage-collector",
    "storage-version-migrator-controller",
    "token-cleaner",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_lists_exactly_these_identities() {
        let docs = include_str!("../../docs/explanations/guards.md");
        let (_, section) = docs.split_once("never includes these built-in identities").unwrap();
        let (table, _) = section.split_once("\nLimits:").unwrap();
        let row = |kind: &str| {
            let line = table.lines().find(|line| line.starts_with(&format!("| {kind} |"))).unwrap();
            line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let (eks, kubernetes): (Vec<&str>, Vec<&str>) = USERS.into_iter().partition(|name| name.starts_with("eks:"));
        assert_eq!(row("users of Kubernetes"), kubernetes);
        assert_eq!(row("users of EKS"), eks);
        assert_eq!(row("groups"), GROUPS);
        // The first quoted word names the namespace.
        assert_eq!(row(&format!("service accounts in `{CONTROLLER_NAMESPACE}`"))[1..], CONTROLLERS);
    }
}
