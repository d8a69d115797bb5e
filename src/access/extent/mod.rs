//! Sets of requests, symbolic: what one rule gives in one scope, and what is left of it when other sets are taken away.
//!
//! Nothing is enumerated: a set is a product of sides (verbs × API groups × resources × names × namespaces, or verbs ×
//! URLs), and every side is closed under union, cut and difference. This part of the room knows rules and requests; it
//! may not know who holds them.

mod data;
mod example;
mod product;
mod region;
mod resources;
mod urls;
mod wording;
mod words;

pub(crate) use data::Requests;
pub(crate) use product::{Extent, Objects};
pub(crate) use region::{Region, joined, without};
pub(crate) use resources::Resources;
pub(crate) use words::Words;
