//! Tests of the lints.
