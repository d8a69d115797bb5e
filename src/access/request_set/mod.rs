//! Sets of requests, symbolic: what one rule gives in one scope, and what is left of it when other sets are taken away.
//!
//! Nothing is enumerated: a set is a product of sides (verbs × API groups × resources × names × namespaces, or verbs ×
//! URLs), and every side is closed under union, cut and difference. This part of the room knows rules and requests; it
//! may not know who holds them.

mod data;
mod display;
mod example;
mod product;
mod request_set_except;
mod resource_set;
mod string_set;
mod url_set;

pub(crate) use data::{ProductSetData, RequestSetData, ResourceSetData, StringSetData, UrlPatternData};
pub(crate) use product::{ObjectRequestSet, RequestSet};
pub(crate) use request_set_except::{RequestSetExcept, merge, subtract};
pub(crate) use resource_set::ResourceSet;
pub(crate) use string_set::StringSet;
