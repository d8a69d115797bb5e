//! Whether requests are all that a binding allows.

use super::access_view::AccessView;
use super::request_set::{Coverage, RequestSet, StringSet};
use crate::names::ObjectKey;

impl<'s> AccessView<'s> {
    /// Returns whether the sets together contain every request that a role allows through a binding. `false` if it is too
    /// much work to decide.
    pub(crate) fn contain_whole_grant(
        &self,
        sets: &[RequestSet<'s>],
        (binding, role): (&'s ObjectKey, &'s ObjectKey),
    ) -> bool {
        let Some(effective) = self.grants.role_by_key(role) else {
            return false;
        };
        let scopes = self.grants.scopes_of_binding(binding);
        let is_cluster_wide = scopes.contains(&None);
        let scope = if is_cluster_wide { StringSet::all() } else { StringSet::only(scopes.into_iter().flatten()) };
        let sets: Vec<&RequestSet<'s>> = sets.iter().collect();
        let mut rules = effective.sourced_rules();
        rules.all(|sourced| {
            let allowed = RequestSet::from_rule(sourced.rule, scope.clone(), &self.state().resources);
            allowed.iter().all(|set| set.coverage_by(&sets) == Coverage::Complete)
        })
    }
}
