//! Aws-auth entries and objects, and the policy that manages each.

use schemars::JsonSchema;
use serde::Serialize;

use super::common::{LocationJson, ObjectJson, SectionJson};
use crate::policy::ManagedBy;
use crate::state::aws_auth::Section;

/// An entry of aws-auth.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EntryJson {
    /// The key of the section in the ConfigMap. Null for an access entry.
    pub(super) section: Option<SectionJson>,
    /// The line in the text of the section, counted from 1. Null if it is not known.
    #[schemars(range(min = 1))]
    pub(super) line: Option<usize>,
    /// The ARN as the entry has it, or the account ID.
    pub(super) principal: String,
    /// The policy that manages the entry, or null if no policy does.
    pub(super) managed_by: Option<ManagedByJson>,
}

impl EntryJson {
    /// `aws-auth entry` or `access entry`.
    pub(crate) fn store(&self) -> &'static str {
        if self.section.is_some() { "aws-auth entry" } else { "access entry" }
    }

    /// `arn:…:role/viewer, mapRoles line 6` or `arn:…:role/viewer`.
    pub(crate) fn text(&self) -> String {
        let Some(section) = self.section else {
            return self.principal.clone();
        };
        let line = self.line.map(|line| format!(" line {line}")).unwrap_or_default();
        format!("{}, {}{line}", self.principal, Section::from(section).key())
    }

    pub(crate) fn managed_by_text(&self) -> String {
        managed_by_text(self.managed_by.as_ref())
    }
}

/// `access.toml:12`, `policy other` or `unmanaged`.
fn managed_by_text(managed_by: Option<&ManagedByJson>) -> String {
    match managed_by {
        Some(ManagedByJson::Location(location)) => format!("{}:{}", location.file, location.line),
        Some(ManagedByJson::Policy(name)) => format!("policy {name}"),
        None => "unmanaged".to_owned(),
    }
}

/// The policy that manages an object or an entry.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ManagedByJson {
    /// This policy, and where it asks for it.
    Location(LocationJson),
    /// The name of another policy, or of this policy if it no longer asks for it.
    Policy(String),
}

impl ManagedByJson {
    /// `access.toml:12` or `policy other`.
    pub(crate) fn text(&self) -> String {
        managed_by_text(Some(self))
    }

    pub(super) fn new(managed_by: &ManagedBy) -> Option<Self> {
        match managed_by {
            ManagedBy::Location(location) => Some(Self::Location(location.into())),
            ManagedBy::Policy(name) => Some(Self::Policy(name.clone())),
            ManagedBy::Unmanaged => None,
        }
    }
}

/// An object, and the policy that manages it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ManagedObjectJson {
    /// The object.
    pub(super) object: ObjectJson,
    /// The policy that manages it, or null if no policy does.
    pub(super) managed_by: Option<ManagedByJson>,
}

impl ManagedObjectJson {
    pub(super) fn name(&self) -> &str {
        &self.object.name
    }

    /// Returns whether the policy of the command defines it.
    pub(super) fn is_defined(&self) -> bool {
        matches!(self.managed_by, Some(ManagedByJson::Location(_)))
    }

    /// `RoleBinding team-a/deployers`.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.object.kind_name(), self.object.path())
    }

    pub(crate) fn managed_by_text(&self) -> String {
        managed_by_text(self.managed_by.as_ref())
    }
}
