//! The bindings that grant access to a subject. Subjects with the same bindings share what is computed from them.

use super::access_view::{AccessView, EffectiveRule};
use super::effective_permissions::EffectivePermissions;
use super::grant_index::BindingId;
use super::identity::{Authentication, Identity};

/// The bindings that grant access to an authentication in one state. Equal values have equal permissions, whichever
/// subjects of the bindings match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BoundGrants {
    pub(crate) is_in_system_masters: bool,
    bindings: Vec<BindingId>,
}

impl BoundGrants {
    pub(crate) fn for_authentication(access: &AccessView<'_>, authentication: &Authentication) -> Self {
        let grants = authentication.identities().flat_map(|identity| access.grants.grants_for_identity(identity));
        let mut bindings: Vec<BindingId> = grants.map(|grant| grant.position.0).collect();
        bindings.sort_unstable();
        bindings.dedup();
        Self { is_in_system_masters: authentication.identities().any(Identity::is_in_system_masters), bindings }
    }

    /// Returns the rules that the bindings grant. The path of each names the first subject of its binding.
    pub(super) fn effective_rules<'s>(&self, access: &AccessView<'s>) -> Vec<EffectiveRule<'s>> {
        access.rules_of_grants(&access.grants.first_grants(&self.bindings))
    }

    pub(crate) fn effective_permissions<'s>(&self, access: &AccessView<'s>) -> EffectivePermissions<'s> {
        EffectivePermissions::new(
            &access.grants.state.resources,
            self.is_in_system_masters,
            self.effective_rules(access),
        )
    }
}
