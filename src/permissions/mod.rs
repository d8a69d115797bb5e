//! What whoever runs a plan must be allowed to do: the requests of its steps, and the least roles for a policy.
//!
//! Pure: this room knows states, policies and plans. Whether the cluster allows a request it is told.

mod check;
mod minimal_roles;
mod required_permissions;

pub(crate) use check::{ApplyUser, MissingPermission, check_plan_permissions};
pub(crate) use minimal_roles::{MinimalRoles, RoleWritePermission};
