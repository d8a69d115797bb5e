//! The classic cases, each by itself.
