//! What whoever runs a plan must be allowed to do: the requests of its steps, and the least roles for a policy.
//!
//! Pure: this room knows states, policies and plans. Whether the cluster allows a request it is told.

mod least;
mod needs;
mod wanted;

pub(crate) use least::{Least, With};
pub(crate) use wanted::{Lack, Runner, wanted};
