//! Names of temporary objects, usernames and groups that nothing uses yet.

use sha2::{Digest, Sha256};

use super::changes::{ObjectChange, TargetObject};
use super::internal;
use super::scheduler::Scheduler;
use crate::names::ObjectKey;
use crate::state::object::ObjectError;
use crate::state::rbac::Subject;

/// How the temporary usernames and groups of principals start.
pub(in crate::plan) const TEMPORARY_NAME_PREFIX: &str = "rolecall-temporary-";
/// The number of names that are tried.
const MAX_NAMES: usize = 1000;

/// Returns the name, then the name with numbers from 2.
fn numbered(name: String) -> impl Iterator<Item = String> {
    (1..=MAX_NAMES).map(move |number| match number {
        1 => name.clone(),
        number => format!("{name}-{number}"),
    })
}

impl<'s> Scheduler<'s> {
    /// Returns an unused key for a temporary object. A name from an abandoned attempt is unused.
    pub(super) fn unused_key(
        &self,
        (kind, namespace, name): (crate::names::ObjectKind, Option<&str>, &str),
    ) -> Result<&'s ObjectKey, ObjectError> {
        let names = numbered(format!("{name}-rolecall-temporary"));
        let mut keys = names.filter_map(|name| ObjectKey::new(kind, namespace, &name));
        let is_planned = |key: &ObjectKey| self.changes.iter().any(|change| writes_object(change, key));
        let key = keys.find(|key| !self.verifier.engine.is_known(key) && !is_planned(key));
        let key = key.ok_or_else(|| internal(format!("no temporary name for {name} is free")))?;
        Ok(self.arena.add_key(key))
    }

    /// Returns an unused name for the temporary username and group of a principal. It is the same in every plan of the
    /// policy.
    pub(super) fn unused_name(&self, entry_key: &str) -> Result<String, ObjectError> {
        let hash = Sha256::digest(format!("{}\0{entry_key}", self.author.policy));
        let hex: String = hash.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        let is_used = |subject: &Subject| {
            let Some(id) = self.verifier.engine.find_subject(subject) else {
                return false;
            };
            let mut logins =
                self.verifier.classes.iter().flat_map(|class| class.live_logins.iter().chain(&class.planned_logins));
            self.verifier.engine.is_named(id) || logins.any(|login| login.subjects.subjects.contains(&id))
        };
        let is_free = |name: &String| ![Subject::Group(name.clone()), Subject::User(name.clone())].iter().any(is_used);
        let name = numbered(format!("{TEMPORARY_NAME_PREFIX}{hex}")).find(is_free);
        name.ok_or_else(|| internal(format!("no temporary group for {entry_key} is free")))
    }
}

fn writes_object(change: &ObjectChange<'_>, key: &ObjectKey) -> bool {
    let bridge = match &change.pending.kind {
        super::ChangeKind::Replace { bridge: Some((bridge, _)), .. } => Some(bridge),
        _ => None,
    };
    let has_bridge = matches!(change.target, TargetObject::Replace { bridge: Some(_), .. });
    change.pending.object == *key || has_bridge && bridge == Some(key)
}
