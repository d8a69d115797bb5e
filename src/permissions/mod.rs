//! The permissions that rolecall needs: those that a plan requires, and minimal roles for applying a policy.
//!
//! This module works on states, policies and plans. It does not ask the cluster whether a request is allowed: it
//! returns the requests to ask about.

mod check;
mod iam_policy;
mod minimal_roles;
mod required_permissions;
mod roles_during_plan;
#[cfg(test)]
mod tests;

pub(crate) use check::{ApplyUser, MissingPermission, check_plan_permissions};
pub(crate) use iam_policy::{EksAccess, assumed_roles, runner_iam_policy};
pub(crate) use minimal_roles::{MinimalRoles, RoleWritePermission};
