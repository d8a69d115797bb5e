//! Takes back the writes of aws-auth, entry by entry and mark by mark. Everything else in it stays the same byte for byte.

use serde_json::Value;

use super::super::entries::aws_auth_edit::AwsAuthEdit;
use super::super::entries::unreadable_section;
use super::super::schedule::ChangeKind;
use super::super::{Action, Change};
use super::entries::{EntriesUndo, entry_change};
use super::undo_value::Versions;
use super::{RestorePlanner, left_alone};
use crate::diagnostic::Diagnostic;
use crate::names::ObjectKey;
use crate::state::aws_auth::Section;
use crate::state::config_map::AwsAuth;
use crate::state::object::ObjectError;
use crate::state::undo;
use crate::state::write::{WriteRequest, apply_merge_patch};

/// The write that takes back other writes of aws-auth.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AwsAuthUndo {
    /// `None` if nothing of them is left.
    pub(crate) write: Option<WriteRequest>,
    /// What is left alone, because it was changed since.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Returns the write that takes back one write of aws-auth from its `current` content. `before` is the content before that
/// write.
///
/// # Errors
/// If the current content cannot be edited.
pub(crate) fn undo_aws_auth_write(
    policy: &str,
    before: Option<&Value>,
    write: &WriteRequest,
    current: Option<&Value>,
) -> Result<AwsAuthUndo, Vec<Diagnostic>> {
    let after = match (write, before) {
        (WriteRequest::Create(body), _) => Some(body.clone()),
        (WriteRequest::Patch(patch), Some(before)) => {
            let mut after = before.clone();
            apply_merge_patch(&mut after, patch);
            Some(after)
        }
        (WriteRequest::Patch(_), None) | (WriteRequest::Delete, _) => None,
    };
    let invalid = |error: ObjectError| vec![Diagnostic::error(format!("aws-auth is not a valid ConfigMap: {error}"))];
    let versions = Versions { before: before.cloned(), intermediate: Vec::new(), after };
    let versions = versions.try_map(AwsAuth::from_json).map_err(invalid)?;
    let live = current.map(AwsAuth::from_json).transpose().map_err(invalid)?;
    let undo = ContentUndo::new(policy, &versions, live.as_ref(), before)?;
    Ok(AwsAuthUndo { write: undo.write.map(|(write, _)| write), warnings: undo.warnings })
}

impl RestorePlanner<'_> {
    pub(super) fn undo_aws_auth(&mut self, versions: &Versions<AwsAuth>) -> Result<(), Vec<Diagnostic>> {
        let key = ObjectKey::aws_auth();
        let live = self.live.aws_auth.as_ref();
        let ContentUndo { write, changes, warnings } =
            ContentUndo::new(self.policy, versions, live, self.applied.before.get(&key))?;
        self.warnings.extend(warnings);
        self.changes.extend(changes);
        if let Some((write, edit)) = write {
            let verb = match &write {
                WriteRequest::Create(_) => "create",
                WriteRequest::Patch(_) => "change",
                WriteRequest::Delete => "delete",
            };
            self.push_write(&key, verb, ChangeKind::Map { write, edit: Box::new(edit) });
        }
        Ok(())
    }
}

/// The write, the changes and the warnings of an undo.
pub(super) struct ContentUndo {
    pub(super) write: Option<(WriteRequest, AwsAuthEdit)>,
    pub(super) changes: Vec<Change>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl ContentUndo {
    /// `stored` is the object before the writes, with the fields that rolecall does not manage.
    fn new(
        policy: &str,
        versions: &Versions<AwsAuth>,
        live: Option<&AwsAuth>,
        stored: Option<&Value>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let nothing = Self { write: None, changes: Vec::new(), warnings: Vec::new() };
        let Some(live) = live else {
            return Ok(match (&versions.before, &versions.after, stored) {
                (Some(before), None, Some(stored)) => Self {
                    write: Some((
                        WriteRequest::Create(undo::strip_server_fields(stored)),
                        AwsAuthEdit::from_replacement(None, before.clone()),
                    )),
                    changes: whole_changes(before, Action::Create)?,
                    ..nothing
                },
                (Some(_), Some(_), _) => {
                    let warning = left_alone("ConfigMap aws-auth", "restored", "it was deleted since the apply");
                    Self { warnings: vec![warning], ..nothing }
                }
                _ => nothing,
            });
        };
        let is_as_created =
            versions.before.is_none() && versions.written().flatten().any(|written| is_same_config_map(written, live));
        if is_as_created && !live.meta.deleting {
            return Ok(Self {
                write: Some((WriteRequest::Delete, AwsAuthEdit::from_replacement(Some(live), AwsAuth::default()))),
                changes: whole_changes(live, Action::Delete)?,
                ..nothing
            });
        }
        EntriesUndo::new(policy, versions, live)?.into_content_undo()
    }
}

fn is_same_config_map(a: &AwsAuth, b: &AwsAuth) -> bool {
    a.data == b.data
        && a.binary_keys == b.binary_keys
        && a.immutable == b.immutable
        && a.meta.labels == b.meta.labels
        && a.meta.annotations == b.meta.annotations
}

/// Returns the changes of a ConfigMap that is created or deleted as a whole.
fn whole_changes(auth: &AwsAuth, action: Action) -> Result<Vec<Change>, Vec<Diagnostic>> {
    let mut changes = Vec::new();
    for section in Section::ALL {
        let parsed = auth.parse_section(section).map_err(|error| vec![unreadable_section(&error)])?;
        changes.extend(parsed.entries.iter().map(|located| {
            let entry = Some(&located.entry);
            let (from, to) = if action == Action::Create { (None, entry) } else { (entry, None) };
            entry_change(action, section, &located.entry, from, to)
        }));
    }
    Ok(changes)
}
