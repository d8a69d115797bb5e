//! Removes the entries of aws-auth that have no effect beside access entries.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::entries::aws_auth_edit::AwsAuthEdit;
use super::super::entries::{SectionEdits, edit_diagnostic, entry_removal};
use super::super::objects::require_as_read;
use super::super::schedule::{ChangeKind, PendingWrite};
use super::{
    AccessEntryType, Diagnostic, EntryStatus, MigrationPlanner, MovedPrincipal, PlanBuilder, State, StayReason,
    check_writable, entry_id, entry_key, no_effect_reason, shadowed_reason,
};
use crate::access::{AccessView, Aggregation, EntryRef, IamIdentity, SubjectQuery, diff_access};
use crate::names::ObjectKey;
use crate::state::access_entry::access_entry_key;
use crate::state::aws_auth::{EntryEdit, edit_section};
use crate::state::entry_marks::EntryMarks;
use crate::state::owner::ENTRIES_ANNOTATION;
use crate::state::write::WriteRequest;

impl MigrationPlanner<'_> {
    /// Plans the removal of the entries whose principals have an access entry of equal effect.
    pub(super) fn finish(&mut self, builder: &mut PlanBuilder<'_>) -> Result<(), Vec<Diagnostic>> {
        let entries = self.aws_auth_entries();
        // The principals with an access entry, by the key that the authenticator compares.
        let mut shadowing: BTreeMap<String, String> = BTreeMap::new();
        for (_, status, entry) in &entries {
            if let EntryStatus::Shadowed { by } = status
                && !by.is_in_aws_auth()
            {
                shadowing.insert(entry_key(entry), by.principal.clone());
            }
        }
        let different = self.principals_of_other_effect(shadowing.values());
        let marks = self.live.entry_marks();
        let own_policy = self.settings.policy.as_deref();
        let mut removed: BTreeMap<String, &String> = BTreeMap::new();
        for (key, principal) in &shadowing {
            let owners = super::Section::ALL.into_iter().filter_map(|section| marks.owner(entry_id(section, key)));
            let other = owners.into_iter().find(|owner| Some(*owner) != own_policy).map(str::to_owned);
            let reason = match other {
                Some(other) => Some(StayReason::OtherPolicy(other)),
                None => different
                    .contains(&IamIdentity::from_access_entry(principal).comparison_key())
                    .then_some(StayReason::OtherEffect),
            };
            match reason {
                None => drop(removed.insert(key.clone(), principal)),
                Some(reason) => {
                    let in_force = entries.iter().find(|(_, status, entry)| {
                        entry_key(entry) == *key
                            && matches!(status, EntryStatus::Shadowed { by } if !by.is_in_aws_auth())
                    });
                    if let Some((entry_ref, ..)) = in_force {
                        self.stay(entry_ref.clone(), reason);
                    }
                }
            }
        }
        for (entry_ref, status, entry) in &entries {
            let is_shadowed = shadowing.contains_key(&entry_key(entry));
            match status {
                _ if is_shadowed && !matches!(status, EntryStatus::Unmatchable(_)) => {}
                EntryStatus::Active | EntryStatus::Ambiguous => self.stay_unmoved(entry_ref, status, entry),
                EntryStatus::Shadowed { by } => {
                    self.without_effect.push((entry_ref.clone(), shadowed_reason(by)));
                }
                EntryStatus::Unmatchable(_) => {
                    let reason = no_effect_reason(status);
                    self.without_effect.extend(reason.map(|reason| (entry_ref.clone(), reason)));
                }
            }
        }
        self.moved = removed
            .values()
            .map(|principal| {
                let entry = self.live.access_entries.get(&access_entry_key(principal));
                MovedPrincipal {
                    principal: (*principal).clone(),
                    entry_type: entry.map_or(AccessEntryType::Standard, |entry| entry.entry_type.clone()),
                    is_admin: false,
                    is_path_unknown: false,
                }
            })
            .collect();
        self.plan_removals(builder, &removed.into_keys().collect(), &marks)
    }

    /// An entry without access entry stays. The reason is the one for which the first stage does not move it.
    fn stay_unmoved(&mut self, entry_ref: &EntryRef, status: &EntryStatus, entry: &super::Entry) {
        let reason = if *status == EntryStatus::Ambiguous {
            StayReason::Ambiguous
        } else {
            let moved = super::EntryMove::new(entry, &self.known, self.settings.account.as_ref());
            moved.err().unwrap_or(StayReason::NotMoved)
        };
        self.stay(entry_ref.clone(), reason);
    }

    /// Returns the principals whose access entry does not give what their entry in aws-auth would give without it.
    fn principals_of_other_effect<'p>(&self, principals: impl Iterator<Item = &'p String>) -> BTreeSet<String> {
        let mut without: State = self.live.clone();
        for principal in principals {
            without.access_entries.take(&access_entry_key(principal));
        }
        let (aws_auth, entries) = AccessView::pair(&without, self.live, Aggregation::Reconciled);
        let rows = diff_access(&aws_auth, &entries);
        let key = |subject: &SubjectQuery| match subject {
            SubjectQuery::Arn(identity) => Some(identity.comparison_key()),
            SubjectQuery::Account(_)
            | SubjectQuery::User(_)
            | SubjectQuery::Group(_)
            | SubjectQuery::ServiceAccount { .. } => None,
        };
        rows.iter().filter(|row| !row.is_empty()).filter_map(|row| key(&row.subject)).collect()
    }

    fn plan_removals(
        &self,
        builder: &mut PlanBuilder<'_>,
        keys: &BTreeSet<String>,
        marks: &EntryMarks,
    ) -> Result<(), Vec<Diagnostic>> {
        let Some(auth) = self.live.aws_auth.as_ref().filter(|_| !keys.is_empty()) else {
            return Ok(());
        };
        let mut edits = SectionEdits::new();
        let mut owned_after = marks.owned_by(builder.policy);
        for (section, parsed) in &self.sections {
            for (index, located) in parsed.entries.iter().enumerate() {
                let key = entry_key(&located.entry);
                if keys.contains(&key) {
                    owned_after.remove(&entry_id(*section, &key));
                    let mut change = entry_removal(*section, &located.entry, &auth.meta);
                    change.note =
                        Some(format!("line {}: the access entry of the principal counts instead", located.line));
                    builder.changes.push(change);
                    edits.entry(*section).or_default().push(EntryEdit::Remove { index });
                }
            }
        }
        let (mut data, mut errors) = (Map::new(), Vec::new());
        for (section, edits) in &edits {
            match edit_section(*section, auth.data.get(section.key()).map(String::as_str), edits) {
                Ok(text) => drop(data.insert(section.key().to_owned(), json!(text))),
                Err(error) => errors.push(edit_diagnostic(*section, &error)),
            }
        }
        errors.extend(check_writable(auth, true, |section| edits.contains_key(&section)));
        if errors.iter().any(Diagnostic::is_error) {
            return Err(errors);
        }
        builder.diagnostics.extend(errors);
        let mut marks_after = marks.clone();
        marks_after.set_owned_entries(builder.policy, owned_after.clone());
        let mut patch = Map::new();
        patch.insert(
            "metadata".to_owned(),
            json!({ "annotations": { ENTRIES_ANNOTATION: marks_after.to_annotation() } }),
        );
        patch.insert("data".to_owned(), Value::Object(data));
        let edit = AwsAuthEdit::new(auth, true, builder.policy, marks, &owned_after, &edits, &self.sections)
            .map_err(|error| vec![error.into()])?;
        builder.writes.push(PendingWrite {
            object: ObjectKey::aws_auth(),
            kind: ChangeKind::Map { write: WriteRequest::Patch(Value::Object(patch)), edit: Box::new(edit) },
            precondition: require_as_read(&auth.meta),
            description: "remove the aws-auth entries that have no effect".to_owned(),
        });
        Ok(())
    }
}
