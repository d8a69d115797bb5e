//! The stable names of the warnings, which `[lint]` of a policy allows or denies.

use std::fmt;

macro_rules! lint_ids {
    ($($(#[doc = $description:literal])* $variant:ident = $name:literal,)*) => {
        /// The stable name of a warning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum LintId {
            $($(#[doc = $description])* $variant,)*
        }

        impl LintId {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns a sentence about what the warning means.
            pub(crate) fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($description),*).trim_ascii(),)*
                }
            }
        }
    };
}

lint_ids! {
    /// An aggregated role selects no role.
    AggregationSelectsNothing = "aggregation-selects-nothing",
    /// A binding grants access to requests without credentials.
    BindingToAnonymous = "binding-to-anonymous",
    /// A binding grants access to all authenticated users, or to all service accounts.
    BindingToEveryone = "binding-to-everyone",
    /// A principal can choose its own username or group.
    CallerControlledName = "caller-controlled-name",
    /// A rule in a namespace names a resource that is in no namespace.
    ClusterScopedInRole = "cluster-scoped-in-role",
    /// A name has letters that look like those of another name.
    ConfusableText = "confusable-text",
    /// A part of a rule grants nothing.
    DeadRule = "dead-rule",
    /// A list names a value twice.
    DuplicateItem = "duplicate-item",
    /// A name has a character that is not visible.
    InvisibleCharacter = "invisible-character",
    /// A value does something else than it seems to do.
    MisleadingValue = "misleading-value",
    /// `resource-names` together with a verb whose requests have no name.
    ResourceNamesWithCreate = "resource-names-with-create",
    /// `resource-names` together with list or watch.
    ResourceNamesWithList = "resource-names-with-list",
    /// A rule names a resource of another API group.
    ResourceInWrongGroup = "resource-in-wrong-group",
    /// A role is defined for fewer clusters than the binding to it.
    RoleNotInCluster = "role-not-in-cluster",
    /// A session can have a name that the policy uses elsewhere.
    SessionTakesName = "session-takes-name",
    /// No binding grants anything to a group.
    UnboundGroup = "unbound-group",
    /// The access policy of EKS that a principal has is not known, nor is what it allows.
    UnknownAccessPolicy = "unknown-access-policy",
    /// A rule names an API group that no API has.
    UnknownApiGroup = "unknown-api-group",
    /// A binding names a `system:` group that Kubernetes does not have.
    UnknownBuiltInGroup = "unknown-built-in-group",
    /// A rule names a resource that no API has.
    UnknownResource = "unknown-resource",
    /// A binding names a role that is probably misspelled.
    UnknownRole = "unknown-role",
    /// A rule names a subresource that its resource does not have.
    UnknownSubresource = "unknown-subresource",
    /// A rule names a verb that no request has.
    UnknownVerb = "unknown-verb",
    /// An ignore pattern matches nothing.
    UnmatchedIgnore = "unmatched-ignore",
    /// No resource of a rule has a verb of the rule.
    UnsupportedVerb = "unsupported-verb",
    /// No binding refers to a role.
    UnusedRole = "unused-role",
    /// A binding names a user that is the key of a principal.
    UserNamesPrincipal = "user-names-principal",
    /// Nothing could violate an invariant.
    VacuousInvariant = "vacuous-invariant",
    /// A subject contains `*`, which is not a wildcard there.
    WildcardSubject = "wildcard-subject",
}

impl LintId {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.name() == name)
    }
}

impl fmt::Display for LintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_parse() {
        for id in LintId::ALL {
            assert!(id.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{id}");
            assert_eq!(LintId::parse(id.name()), Some(*id));
            let description = id.description();
            assert!(description.starts_with(|c: char| c.is_ascii_uppercase() || c == '`'), "{id}: {description}");
            assert!(description.ends_with('.') && !description.contains("  "), "{id}: {description}");
        }
        assert_eq!(LintId::parse("unknown"), None);
    }
}
