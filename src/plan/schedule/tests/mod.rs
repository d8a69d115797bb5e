//! Checks the order against a plain evaluator of access: every state that an apply can pass through, on small states.

mod access_entries;
mod avoidable;
mod model;
mod named;
mod owned;
mod properties;
mod random;
