//! Guards against states on both sides of a plan.
