//! Whether the changes of a saved plan name everything that its writes do.
//!
//! A reviewer reads the changes, and apply sends the writes. In a plan that was just made both come from one comparison.
//! In a plan from a file they are two lists.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChangeTarget, Plan};
use crate::names::ObjectKey;
use crate::state::State;
use crate::state::aws_auth::Section;
use crate::state::config_map::principal_text;
use crate::state::owner::content_labels;

impl Plan {
    /// Returns what the writes change and the changes do not name, or what the changes name and no write touches.
    pub(crate) fn undisclosed_write(&self, live: &State, after: &State) -> Option<String> {
        let (mut objects, mut entries) = (BTreeSet::new(), BTreeSet::new());
        for change in &self.changes {
            match &change.target {
                ChangeTarget::Object(key) => objects.insert(key),
                ChangeTarget::Entry { section, principal } => entries.insert((*section, principal.to_lowercase())),
            };
        }
        let written: BTreeSet<&ObjectKey> = self.steps.iter().map(|step| &step.object).collect();
        let aws_auth = ObjectKey::aws_auth();
        let unlisted = written.iter().find(|key| !objects.contains(*key) && differs(key, live, after));
        let unwritten = objects.iter().find(|key| !written.contains(*key));
        if let Some(key) = unlisted {
            return Some(format!("it writes {key}, which is not among its changes"));
        }
        if let Some(key) = unwritten {
            return Some(format!("{key} is among its changes, but it does not write it"));
        }
        if !entries.is_empty() && !written.contains(&aws_auth) {
            return Some("an aws-auth entry is among its changes, but it does not write aws-auth".to_owned());
        }
        let entry = changed_entries(live, after).into_iter().find(|entry| !entries.contains(entry));
        entry.map(|(_, principal)| {
            format!("it changes the aws-auth entry of {principal}, which is not among its changes")
        })
    }
}

/// Returns whether the content of a role or binding differs. Other objects have their own comparison.
fn differs(key: &ObjectKey, live: &State, after: &State) -> bool {
    let role = |state: &State| {
        let role = state.roles.get(key)?;
        Some((role.rules.clone(), role.aggregation.clone(), content_labels(&role.meta)))
    };
    let binding = |state: &State| state.bindings.get(key).map(|found| (found.role_ref.clone(), found.subjects.clone()));
    role(live) != role(after) || binding(live) != binding(after)
}

/// The usernames and groups of the entries of each principal.
type EntriesByPrincipal = BTreeMap<(Section, String), Vec<(String, BTreeSet<String>)>>;

/// Returns the entries that are different before and after, with the principal in lower case.
fn changed_entries(live: &State, after: &State) -> BTreeSet<(Section, String)> {
    let entries = |state: &State| {
        let mut out: EntriesByPrincipal = BTreeMap::new();
        for section in Section::ALL {
            let parsed = state.aws_auth.as_ref().and_then(|aws_auth| aws_auth.parse_section(section).ok());
            for located in parsed.into_iter().flat_map(|parsed| parsed.entries) {
                let groups = located.entry.groups.iter().cloned().collect();
                let key = (section, principal_text(&located.entry).to_lowercase());
                out.entry(key).or_default().push((located.entry.username, groups));
            }
        }
        out
    };
    let (before, after) = (entries(live), entries(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}
