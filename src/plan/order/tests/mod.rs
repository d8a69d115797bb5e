//! The order against a plain evaluator: every state that an apply may pass through, on small dense states.

mod avoidable;
mod model;
mod named;
mod owned;
mod properties;
mod random;
