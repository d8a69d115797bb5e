//! The changes of a plan, as a reviewer reads them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{LocationJson, ObjectJson, SectionJson};
use crate::plan::{AccessImpact, Action, Change, ChangeOrigin, ChangeTarget, DiffOp, FieldDiff, ValueDiff};
use crate::state::object_meta::ObjectWriter;

/// One change to an object or to an entry of aws-auth.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ChangeJson {
    /// The kind of the change. `adopt`: the object or entry exists without an owner, and this policy takes it over.
    /// `replace`: the roleRef of a binding or the type of an access entry changes, so it is deleted and created again, since
    /// Kubernetes or EKS does not allow changing it.
    pub(crate) action: ActionJson,
    /// The object or aws-auth entry that changes.
    pub(crate) target: TargetJson,
    /// The fields that differ.
    pub(crate) fields: Vec<FieldJson>,
    /// The policy line that declares it. Null for a deletion, unless it is deleted because it expired.
    pub(crate) location: Option<LocationJson>,
    /// The reason, if it is not obvious.
    pub(crate) note: Option<String>,
    /// Whether the cluster differs because it was changed. `none`: the cluster is as rolecall wrote it and the policy
    /// has changed. `changed-in-cluster`: it was changed after rolecall wrote it. `deleted-in-cluster`: it was deleted
    /// after rolecall wrote it.
    pub(crate) drift: DriftJson,
    /// Who wrote the object last, or null if it does not exist or this is not recorded.
    pub(crate) last_writer: Option<LastWriterJson>,
    /// Whether the change alone has an effect on access, either when it is made by itself or when it is left out of the
    /// plan. The changes to all entries of one principal count as one change. Null if this was not computed, as by
    /// `drift`.
    pub(crate) changes_access: Option<bool>,
}

impl From<&Change> for ChangeJson {
    fn from(change: &Change) -> Self {
        let Change { action, target, fields, location, note, origin, last_writer, access_impact } = change;
        Self {
            action: (*action).into(),
            target: target.into(),
            fields: fields.iter().map(FieldJson::from).collect(),
            location: location.as_ref().map(LocationJson::from),
            note: note.clone(),
            drift: (*origin).into(),
            last_writer: last_writer.as_ref().map(LastWriterJson::from),
            changes_access: access_impact.map(|impact| match impact {
                AccessImpact::Changes => true,
                AccessImpact::NoChange => false,
            }),
        }
    }
}

impl ChangeJson {
    /// The target as text, such as `RoleBinding team-a/edit` or `aws-auth role ARN`.
    pub(crate) fn target_text(&self) -> String {
        match &self.target {
            TargetJson::Entry(entry) => format!("{} {}", entry.section.entry_label(), entry.principal),
            TargetJson::Object(object) => format!("{} {}", object.kind_label(), object.path()),
        }
    }
}

/// The kind of a change to an object or to an aws-auth entry.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum ActionJson {
    Create,
    Adopt,
    Update,
    Replace,
    Delete,
}

impl ActionJson {
    /// The name as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Adopt => "adopt",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }
}

impl From<Action> for ActionJson {
    fn from(action: Action) -> Self {
        match action {
            Action::Create => Self::Create,
            Action::Adopt => Self::Adopt,
            Action::Update => Self::Update,
            Action::Replace => Self::Replace,
            Action::Delete => Self::Delete,
        }
    }
}

/// An entry of aws-auth, or an object.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TargetJson {
    Entry(EntryTargetJson),
    Object(ObjectJson),
}

/// An entry of aws-auth.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EntryTargetJson {
    /// The key of the section in the ConfigMap.
    pub(crate) section: SectionJson,
    /// The ARN as aws-auth has it, or the account ID.
    pub(crate) principal: String,
}

impl From<&ChangeTarget> for TargetJson {
    fn from(target: &ChangeTarget) -> Self {
        match target {
            ChangeTarget::Entry { section, principal } => {
                Self::Entry(EntryTargetJson { section: (*section).into(), principal: principal.clone() })
            }
            ChangeTarget::Object(key) => Self::Object(key.into()),
        }
    }
}

/// How the cluster came to differ from the policy.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum DriftJson {
    None,
    ChangedInCluster,
    DeletedInCluster,
}

impl From<ChangeOrigin> for DriftJson {
    fn from(origin: ChangeOrigin) -> Self {
        match origin {
            ChangeOrigin::NotApplied => Self::None,
            ChangeOrigin::ChangedInCluster => Self::ChangedInCluster,
            ChangeOrigin::RemovedFromCluster => Self::DeletedInCluster,
        }
    }
}

/// Who wrote an object last, from its managedFields.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LastWriterJson {
    /// The field manager.
    pub(crate) manager: String,
    /// The time of the write, RFC 3339.
    pub(crate) time: String,
}

impl From<&ObjectWriter> for LastWriterJson {
    fn from(writer: &ObjectWriter) -> Self {
        let ObjectWriter { manager, time } = writer;
        Self { manager: manager.clone(), time: time.clone() }
    }
}

/// A field that differs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FieldJson {
    /// The name of the field, such as `username`, or `rules[0]` and below it `verbs`.
    #[schemars(length(min = 1, max = 2))]
    pub(crate) path: Vec<String>,
    /// Its values before and after.
    pub(crate) values: Vec<FieldValueJson>,
}

impl From<&FieldDiff> for FieldJson {
    fn from(field: &FieldDiff) -> Self {
        let FieldDiff { path, values } = field;
        Self { path: path.clone(), values: values.iter().map(FieldValueJson::from).collect() }
    }
}

/// One value of a field.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FieldValueJson {
    /// The change to the value.
    pub(crate) op: DiffOpJson,
    /// The value as text.
    pub(crate) value: String,
}

impl From<&ValueDiff> for FieldValueJson {
    fn from(diff: &ValueDiff) -> Self {
        let ValueDiff { op, value } = diff;
        Self { op: (*op).into(), value: value.clone() }
    }
}

/// The change to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum DiffOpJson {
    Unchanged,
    Add,
    Remove,
}

impl From<DiffOp> for DiffOpJson {
    fn from(op: DiffOp) -> Self {
        match op {
            DiffOp::Keep => Self::Unchanged,
            DiffOp::Add => Self::Add,
            DiffOp::Remove => Self::Remove,
        }
    }
}
