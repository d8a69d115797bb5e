//! Removes the stored rules of aggregated ClusterRoles whose selectors find no rules.
//!
//! The aggregation controller writes the rules that it finds, but it does not remove rules of another field manager
//! when it finds none (Kubernetes, pkg/controller/clusterroleaggregation: it applies an empty list, which only gives up
//! its own fields). So a role that becomes aggregated and selects nothing would keep its old rules, and so would an
//! aggregated role whose rules were written by hand.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::objects::{object_change, require_as_read};
use super::schedule::{ChangeKind, PendingWrite};
use super::state_after::apply_write;
use super::{Action, ChangeOrigin, ChangeTarget, PlanBuilder, field_diff};
use crate::access::keeps_manual_rules;
use crate::diagnostic::{Diagnostic, InternalError, Span};
use crate::names::{ObjectKey, ObjectKind};
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::object::{ObjectError, Role};
use crate::state::object_meta::ObjectMeta;
use crate::state::write::{WriteRequest, apply_merge_patch};

/// Adds to the plan that the rules of listed aggregated roles are emptied, if the controller would keep rules that no
/// selected role has.
pub(super) fn plan_manual_rules(builder: &mut PlanBuilder<'_>, desired: &Desired, live: &State) {
    if builder.diagnostics.iter().any(Diagnostic::is_error) {
        return;
    }
    // Only roles that already have rules of another manager can keep them.
    let mut candidates: BTreeSet<&ObjectKey> = desired
        .roles
        .iter()
        .filter(|(_, item)| item.value.role.aggregation.is_some())
        .filter_map(|(key, _)| live.roles.get_key_value(key))
        .filter(|(_, role)| !role.rules.is_empty() && (role.aggregation.is_none() || role.meta.has_manual_rules()))
        .map(|(key, _)| key)
        .collect();
    if candidates.is_empty() {
        return;
    }
    let mut planned = match planned_cluster_roles(&builder.writes, live) {
        Ok(planned) => planned,
        Err(error) => {
            builder.diagnostics.push(super::invalid_object_error(error).into());
            return;
        }
    };
    // An emptied role no longer gives rules to the roles that select it, which can then keep their own.
    loop {
        let kept: Vec<&ObjectKey> =
            candidates.iter().copied().filter(|key| keeps_manual_rules(&planned, key)).collect();
        if kept.is_empty() {
            return;
        }
        for key in kept {
            candidates.remove(key);
            if let Some(role) = planned.roles.get_mut(key) {
                role.rules.clear();
            }
            let (Some(role), Some(item)) = (live.roles.get(key), desired.roles.get(key)) else {
                let error = InternalError::new(format!("{key} is neither live nor desired, but keeps its rules"));
                builder.diagnostics.push(error.into());
                return;
            };
            empty_rules(builder, key, role, item.span, live);
        }
    }
}

/// Returns the ClusterRoles after the writes that are planned so far.
pub(super) fn planned_cluster_roles(writes: &[PendingWrite], live: &State) -> Result<State, ObjectError> {
    let is_cluster_role = |key: &ObjectKey| key.kind() == ObjectKind::ClusterRole;
    let roles = live.roles.iter().filter(|(key, _)| is_cluster_role(key));
    let roles = roles.map(|(key, role)| (key.clone(), role.clone())).collect();
    let mut state = State { roles, ..State::default() };
    for PendingWrite { object, kind, .. } in writes.iter().filter(|write| is_cluster_role(&write.object)) {
        let write = match kind {
            ChangeKind::Create(body) | ChangeKind::Replace { body, .. } => WriteRequest::Create(body.clone()),
            ChangeKind::Patch { patch, .. } => WriteRequest::Patch(patch.clone()),
            ChangeKind::Delete => WriteRequest::Delete,
            ChangeKind::Map { write, .. } => write.clone(),
            ChangeKind::AccessEntry { .. } => {
                return Err(InternalError::new(format!("{object} is written as an access entry")).into());
            }
        };
        apply_write(&mut state, object, &write)?;
    }
    Ok(state)
}

/// Adds to the write of the role that its rules are emptied. Plans a write if the role has none.
fn empty_rules(builder: &mut PlanBuilder<'_>, key: &ObjectKey, role: &Role, span: Span, live: &State) {
    let empty: Value = json!({ "rules": [] });
    // The difference of a role that becomes aggregated already shows its old rules as removed.
    let fields = if role.aggregation.is_some() { field_diff::diff_rules(&role.rules, &[]) } else { Vec::new() };
    let pending = builder.writes.iter_mut().find(|pending| pending.object == *key);
    if let Some(PendingWrite { kind: ChangeKind::Patch { patch, .. }, .. }) = pending {
        apply_merge_patch(patch, &empty);
        let target = ChangeTarget::Object(key.clone());
        if let Some(change) = builder.changes.iter_mut().find(|change| change.target == target) {
            change.fields.splice(0..0, fields);
        }
        return;
    }
    let mut change = object_change(builder, Action::Update, key, Some(span), fields);
    change.origin = origin(live, key, &role.meta);
    change.last_writer.clone_from(&role.meta.last_writer);
    change.note = Some("the selectors find no rules, so the stored rules are removed".to_owned());
    builder.changes.push(change);
    builder.writes.push(PendingWrite {
        object: key.clone(),
        kind: ChangeKind::Patch { patch: empty, only_revokes: false },
        precondition: require_as_read(&role.meta),
        description: format!("change {key}"),
    });
}

/// The rules were written in the cluster, unless the plan itself takes the rules away from the selectors.
fn origin(live: &State, key: &ObjectKey, meta: &ObjectMeta) -> ChangeOrigin {
    if meta.last_writer.is_some() && keeps_manual_rules(live, key) {
        ChangeOrigin::ChangedInCluster
    } else {
        ChangeOrigin::NotApplied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{DiffOp, Plan, plan};
    use crate::policy::load_policy;
    use crate::state::object_meta::{Labels, ObjectMeta};
    use crate::state::owner::{OBJECT_ANNOTATION, mark_owned};
    use crate::state::validate::parse_object_key;

    const MANUAL: &str = "managedFields: [{ manager: kubectl-edit, operation: Update, time: '2026-11-24T11:00:00Z', \
                          fieldsV1: { 'f:rules': {} } }]";
    const SECRETS: &str = "[{ verbs: [get], apiGroups: [''], resources: [secrets] }]";

    /// A ClusterRole that the policy `p` owns.
    fn role(name: &str, managed: &str, selects: Option<&str>, rules: &str, label: &str) -> String {
        let aggregation = selects.map_or_else(String::new, |label| {
            format!("aggregationRule: {{ clusterRoleSelectors: [{{ matchLabels: {{ {label}: 'yes' }} }}] }}\n")
        });
        let mut meta = ObjectMeta::default();
        mark_owned(&ObjectKey::cluster_role(name), &mut meta, "p", &Labels::new(), "x".to_owned());
        let object = &meta.annotations[OBJECT_ANNOTATION];
        let annotations =
            format!("rolecall/policy: p, rolecall/object: '{object}', rolecall/digest: x, rolecall/labels: l");
        let managed = if managed.is_empty() { String::new() } else { format!(", {managed}") };
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
             metadata: {{ name: {name}, resourceVersion: '7', labels: {{ {label}: 'yes' }}, annotations: {{ {annotations} }}{managed} }}\n\
             rules: {rules}\n{aggregation}"
        )
    }

    fn state(text: &str) -> State {
        let mut state = State::default();
        for document in crate::yaml::parse_documents(text).unwrap() {
            let value = document.to_json().unwrap();
            state.insert_object(&parse_object_key(&value).unwrap().unwrap(), &value).unwrap();
        }
        state
    }

    fn make_plan(policy: &str, live: &State) -> Plan {
        let text = format!("[policy]\nname = \"p\"\n{policy}");
        let (policy, _) = load_policy(vec![("policy.toml".to_owned(), text)]).unwrap();
        plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap()
    }

    /// The roles whose rules a plan empties.
    fn emptied(plan: &Plan) -> Vec<&str> {
        let empties = |write: &WriteRequest| match write {
            WriteRequest::Patch(body) => body.get("rules") == Some(&json!([])),
            WriteRequest::Create(_) | WriteRequest::Delete => false,
        };
        plan.steps.iter().filter(|step| empties(&step.write)).map(|step| step.object.name()).collect()
    }

    fn aggregated(name: &str, label: &str) -> String {
        format!("[cluster-roles.{name}]\naggregation = [{{ match-labels = {{ {label} = \"yes\" }} }}]\n")
    }

    fn labelled(name: &str, verbs: &str, label: &str) -> String {
        format!(
            "[cluster-roles.{name}]\nrules = [{{ verbs = [{verbs}], resources = [\"pods\"] }}]\n\
             labels = {{ {label} = \"yes\" }}\n"
        )
    }

    #[test]
    fn role_that_becomes_aggregated_is_emptied_only_if_nothing_is_selected() {
        let live = state(&role("a", "", None, SECRETS, "l"));
        let plan = make_plan(&aggregated("a", "w"), &live);
        assert_eq!(emptied(&plan), ["a"]);
        let after = plan.state_after(&live).unwrap();
        assert_eq!(make_plan(&aggregated("a", "w"), &after).steps, []);
        // The controller replaces the rules itself, without a gap.
        let selecting = aggregated("a", "w") + &labelled("b", "\"get\"", "w");
        assert_eq!(emptied(&make_plan(&selecting, &live)), [] as [&str; 0]);
        // A selected role without rules is as good as none.
        let selecting = aggregated("a", "w") + "[cluster-roles.b]\nrules = []\nlabels = { w = \"yes\" }\n";
        assert_eq!(emptied(&make_plan(&selecting, &live)), ["a"]);
    }

    #[test]
    fn rules_written_by_hand_are_a_change_in_the_cluster() {
        let live = state(&role("a", MANUAL, Some("w"), SECRETS, "l"));
        let plan = make_plan(&(aggregated("a", "w") + "labels = { l = \"yes\" }\n"), &live);
        assert_eq!(emptied(&plan), ["a"]);
        let [change] = plan.changes.as_slice() else {
            panic!("{:?}", plan.changes);
        };
        assert_eq!((change.action, change.origin), (Action::Update, ChangeOrigin::ChangedInCluster));
        let removed = change.fields.iter().flat_map(|field| &field.values).filter(|value| value.op == DiffOp::Remove);
        assert_eq!(removed.map(|value| value.value.as_str()).collect::<Vec<_>>(), ["get", "secrets"]);
        let after = plan.state_after(&live).unwrap();
        assert_eq!(make_plan(&(aggregated("a", "w") + "labels = { l = \"yes\" }\n"), &after).steps, []);
    }

    #[test]
    fn rules_of_the_controller_and_of_roles_that_are_not_listed_stay() {
        let by_controller = role("a", "", Some("w"), SECRETS, "l");
        let plan = make_plan(&(aggregated("a", "w") + "labels = { l = \"yes\" }\n"), &state(&by_controller));
        assert_eq!(emptied(&plan), [] as [&str; 0]);
        let not_listed = role("a", MANUAL, Some("w"), SECRETS, "l").replace("rolecall/policy: p, ", "");
        assert_eq!(make_plan("", &state(&not_listed)).steps, []);
    }

    /// `a` selects `b`, which selects nothing. While `b` has rules, the controller writes them into `a`. When `b` is
    /// emptied, nothing is left for `a`.
    #[test]
    fn role_that_selects_an_emptied_role_is_emptied_too() {
        let live = state(&(role("a", MANUAL, Some("l"), SECRETS, "k") + &role("b", MANUAL, Some("w"), SECRETS, "l")));
        let policy =
            aggregated("a", "l") + "labels = { k = \"yes\" }\n" + &aggregated("b", "w") + "labels = { l = \"yes\" }\n";
        let plan = make_plan(&policy, &live);
        let mut names = emptied(&plan);
        names.sort_unstable();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn removing_the_last_selected_role_empties_the_rules_of_another_manager() {
        let live = state(&(role("a", MANUAL, Some("l"), SECRETS, "k") + &role("b", "", None, SECRETS, "l")));
        let plan = make_plan(&(aggregated("a", "l") + "labels = { k = \"yes\" }\n"), &live);
        assert_eq!(emptied(&plan), ["a"]);
        assert_eq!(
            plan.changes.iter().find(|change| change.action == Action::Update).unwrap().origin,
            ChangeOrigin::NotApplied
        );
    }
}
