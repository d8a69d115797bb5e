//! Types and validation for the names of AWS and Kubernetes: ARNs, account IDs, object keys, labels and patterns.
//!
//! A `String` from a file or from the API server is parsed once, here. This module may not depend on policies, states
//! or clusters.

mod arn;
mod kubernetes;
mod object_key;
mod wildcard_pattern;

pub(crate) use arn::{
    AccountId, Arn, ArnError, PARTITIONS, PrincipalKind, eks_cluster_in_arn, iam_name_error, is_eks_cluster_name,
    is_region, partition_for_region,
};
pub(crate) use kubernetes::{
    is_dns_label, is_dns_subdomain, is_label_key, is_label_value, path_segment_error, reserved_prefix,
};
pub(crate) use object_key::{ObjectKey, ObjectKind};
pub(crate) use wildcard_pattern::WildcardPattern;
