//! Sets of requests in symbolic form: the requests that one rule allows in one scope, and the result of subtracting
//! other sets from it.
//!
//! No request is enumerated. A set is a product of dimensions (verbs × API groups × resources × names × namespaces, or
//! verbs × URLs), and every dimension is closed under union, intersection and difference. This module knows rules and
//! requests. It may not depend on bindings, subjects or identities.

mod data;
mod display;
mod example;
mod product;
mod request_set_except;
mod resource_set;
mod rule_scope;
mod string_set;
mod url_set;

pub(crate) use data::{ProductSetData, RequestSetData, ResourceSetData, StringSetData, UrlPatternData};
pub(crate) use product::{ObjectRequestSet, RequestSet};
pub(crate) use request_set_except::{Coverage, RequestSetExcept, merge, subtract};
pub(crate) use resource_set::ResourceSet;
pub(crate) use rule_scope::has_cluster_scoped_resources;
pub(crate) use string_set::StringSet;

pub(super) use display::format_namespaces;
