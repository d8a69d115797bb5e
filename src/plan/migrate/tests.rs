//! Tests of the plans of a migration.
