//! The names of the field as types, so that a username is never compared with a group.
//!
//! A `String` from a file or from the API server is parsed here once. This room knows the shapes of names and the
//! rules for them; it may not know policies, states or clusters.

mod arn;
mod kubernetes;
mod object_key;
mod wildcard_pattern;

pub(crate) use arn::{AccountId, Arn, ArnError, PARTITIONS, PrincipalKind, iam_name_error, partition_for_region};
pub(crate) use kubernetes::{
    is_dns_label, is_dns_subdomain, is_label_key, is_label_value, path_segment_error, reserved_prefix,
};
pub(crate) use object_key::{ObjectKey, ObjectKind};
pub(crate) use wildcard_pattern::WildcardPattern;
