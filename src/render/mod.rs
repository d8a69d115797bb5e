//! Plans and faults as text and as JSON. The same data both ways, so they cannot disagree.

pub(crate) mod access;
mod chain;
pub(crate) mod delta;
pub(crate) mod faults;
pub(crate) mod json;
pub(crate) mod matrix;
pub(crate) mod style;
pub(crate) mod text;
pub(crate) mod words;
