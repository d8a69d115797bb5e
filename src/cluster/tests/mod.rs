//! Compares the two kinds of cluster: a snapshot must accept and reject the same writes as the real API server, for the
//! same reasons.

mod access_entries;
mod differential;
mod protobuf;
mod tokens;
mod write_cases;
