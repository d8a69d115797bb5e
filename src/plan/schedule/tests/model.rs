//! A small in-memory cluster that plans are applied to, and the bounds as a plain evaluator computes them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::access::tests::oracle;
use crate::access::{
    AccessView, Aggregation, IamIdentity, Identity, RenderedName, Request, SessionAttributes, SubjectQuery,
};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::probes::{AccessProbe, ProbeRequest, TransientAccess};
use crate::plan::schedule::{Author, ChangeKind, FirstPrecondition, OrderedSteps, PendingWrite, order};
use crate::plan::{PlanBuilder, Step, entries, objects};
use crate::policy::expand::Desired;
use crate::policy::{DEFAULT_TOKEN_CACHE, OwnershipSpec};
use crate::state::State;
use crate::state::access_entry::{AccessEntriesStatus, AccessEntry};
use crate::state::auth_mode::ObservedAuthMode;
use crate::state::aws_auth::{Entry, EntryEdit, EntryPrincipal, Section, edit_section};
use crate::state::config_map::{AwsAuth, config_map_to_json, entry_key};
use crate::state::object::{binding_to_json, role_to_json};
use crate::state::object_meta::RulesManager;
use crate::state::owner::content_labels;
use crate::state::rbac::Subject;
use crate::state::write::{AcceptedWrite, ObjectVersion, Precondition, ResolvedPrecondition, accept};

pub(super) const POLICY: &str = "p";

/// Returns the section of an entry.
pub(super) fn section_of(entry: &Entry) -> Section {
    match entry.principal {
        EntryPrincipal::Role(_) | EntryPrincipal::Sso(_) => Section::Roles,
        EntryPrincipal::User(_) => Section::Users,
        EntryPrincipal::Account(_) => Section::Accounts,
    }
}

/// Returns an aws-auth with these entries.
pub(super) fn auth_of(entries: &[Entry]) -> AwsAuth {
    let text = |section: Section| {
        let adds: Vec<EntryEdit> =
            entries.iter().filter(|entry| section_of(entry) == section).cloned().map(EntryEdit::Add).collect();
        if adds.is_empty() { "[]\n".to_owned() } else { edit_section(section, Some("# ours\n"), &adds).unwrap() }
    };
    let data = Section::ALL.map(|section| (section.key().to_owned(), text(section)));
    AwsAuth { data: data.into(), ..AwsAuth::default() }
}

/// Returns all entries of aws-auth in their order.
fn entries_of(auth: Option<&AwsAuth>) -> Vec<Entry> {
    let auth = auth.unwrap();
    let all = Section::ALL.into_iter().flat_map(|section| auth.parse_section(section).unwrap().entries);
    all.map(|located| located.entry).collect()
}

/// The objects of a cluster as JSON, with their versions.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) objects: BTreeMap<ObjectKey, (Value, ObjectVersion)>,
    auth_mode: ObservedAuthMode,
    clock: usize,
}

impl Cluster {
    pub(super) fn from_state(state: &State) -> Self {
        let mut cluster = Self { objects: BTreeMap::new(), auth_mode: state.auth_mode.clone(), clock: 1 };
        for (key, entry) in state.access_entries.iter() {
            cluster.store(key, entry.to_json());
        }
        if let Some(auth) = &state.aws_auth {
            let annotations = &auth.meta.annotations;
            cluster.store(&ObjectKey::aws_auth(), config_map_to_json(&auth.data, annotations));
        }
        for (key, role) in &state.roles {
            let mut body = role_to_json(key, role);
            if role.aggregation.is_some() {
                body["rules"] = json!(role.rules);
            }
            if role.meta.has_manual_rules() {
                body["metadata"]["managedFields"] = json!([{ "manager": "kubectl", "fieldsV1": { "f:rules": {} } }]);
            }
            cluster.store(key, body);
        }
        for (key, binding) in &state.bindings {
            cluster.store(key, binding_to_json(key, binding));
        }
        cluster
    }

    fn store(&mut self, key: &ObjectKey, mut body: Value) {
        self.clock += 1;
        let uid =
            body.pointer("/metadata/uid").and_then(Value::as_str).map_or(format!("u{}", self.clock), str::to_owned);
        body["metadata"]["uid"] = json!(uid);
        body["metadata"]["resourceVersion"] = json!(self.clock.to_string());
        let version = match key.kind() {
            ObjectKind::AccessEntry => AccessEntry::version(&body).unwrap(),
            _ => ObjectVersion::from_object(&body).unwrap(),
        };
        self.objects.insert(key.clone(), (body, version));
    }

    pub(super) fn state(&self) -> State {
        let mut state = State { auth_mode: self.auth_mode.clone(), ..State::default() };
        state.access_entries.status = AccessEntriesStatus::Known;
        state.namespaces.insert("n1".to_owned(), BTreeMap::new());
        for (key, (body, _)) in &self.objects {
            state.insert_object(key, body).unwrap();
        }
        state
    }

    /// Applies a step. `versions` are the versions that earlier steps wrote.
    pub(super) fn apply_step(&mut self, number: usize, step: &Step, versions: &mut BTreeMap<usize, ObjectVersion>) {
        let expected = match &step.precondition {
            Precondition::Absent => ResolvedPrecondition::Absent,
            Precondition::Unchanged { uid, resource_version } => ResolvedPrecondition::Version(ObjectVersion {
                uid: uid.clone(),
                resource_version: resource_version.clone(),
            }),
            Precondition::AsWrittenByStep { step } => ResolvedPrecondition::Version(versions[step].clone()),
        };
        let existing = self.objects.get(&step.object).cloned();
        let current = existing.as_ref().map(|(body, version)| (body, version));
        let answer = accept(&step.object, current, true, &step.write, &expected);
        match answer.unwrap_or_else(|error| panic!("{error}: {step:#?}")) {
            AcceptedWrite::Stored(body) => {
                self.store(&step.object, body);
                versions.insert(number, self.objects[&step.object].1.clone());
            }
            AcceptedWrite::Unchanged => drop(versions.insert(number, self.objects[&step.object].1.clone())),
            AcceptedWrite::Deleted => drop(self.objects.remove(&step.object)),
        }
        self.run_controller();
    }

    /// Fills in the aggregated roles. Rules that were added by hand are lost as soon as the controller finds others.
    fn run_controller(&mut self) {
        for (key, rules) in aggregated_rules(&self.state()) {
            let (body, _) = self.objects.get_mut(&key).unwrap();
            if body["rules"] != json!(rules) {
                body["rules"] = json!(rules);
                body["metadata"]["managedFields"] = json!([]);
            }
        }
    }
}

/// Returns the writes that bring the access entries of a state to those of another one.
fn access_entry_writes(live: &State, end: &State) -> Vec<PendingWrite> {
    let keys: BTreeSet<&ObjectKey> =
        live.access_entries.iter().chain(end.access_entries.iter()).map(|(key, _)| key).collect();
    let content = |entry: Option<&AccessEntry>| {
        let mut value = entry.map(AccessEntry::to_json)?;
        value["metadata"] = json!({ "name": value["metadata"]["name"] });
        Some(value)
    };
    let mut writes = Vec::new();
    for key in keys {
        let (now, after) = (live.access_entries.get(key), content(end.access_entries.get(key)));
        if content(now) != after {
            let precondition = now.map_or(FirstPrecondition::Absent, |entry| FirstPrecondition::AsRead {
                uid: entry.meta.uid.clone(),
                resource_version: entry.meta.resource_version.clone().unwrap(),
            });
            let kind = ChangeKind::AccessEntry { after };
            writes.push(PendingWrite { object: key.clone(), kind, precondition, description: String::new() });
        }
    }
    writes
}

/// Returns the ordered steps of a plan.
pub(super) fn ordered(live: &State, desired: &Desired, end: &State) -> OrderedSteps {
    let sources = SourceMap::default();
    let ownership = OwnershipSpec::default();
    let mut builder = PlanBuilder {
        policy: POLICY,
        sources: &sources,
        changes: Vec::new(),
        writes: Vec::new(),
        diagnostics: Vec::new(),
    };
    entries::plan_entries(&mut builder, desired, live.aws_auth.as_ref(), &ownership);
    objects::plan_objects(&mut builder, desired, live, &ownership);
    let errors: Vec<&Diagnostic> = builder.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    builder.writes.extend(access_entry_writes(live, end));
    order(builder.writes, live, Author { policy: POLICY }, DEFAULT_TOKEN_CACHE).unwrap()
}

/// All subjects and requests that the tests check.
pub(super) struct Universe {
    pub(super) subjects: Vec<SubjectQuery>,
    pub(super) requests: Vec<Request>,
}

/// For each subject, the identities that an API server can have cached for its tokens.
type CachedTokens = BTreeMap<usize, Vec<oracle::OracleIdentity>>;

/// For each subject and request, whether at least one possible login allows it, and whether all do.
pub(super) type AccessSnapshot = Vec<(bool, bool)>;

impl Universe {
    pub(super) fn observe(&self, state: &State) -> AccessSnapshot {
        let state = with_stale_rules(state, &aggregated_rules(state));
        let all_allowed =
            |who: &SubjectQuery| oracle::all_allowed(&state, Aggregation::Reconciled, who, &self.requests);
        let answers = self.subjects.iter().flat_map(all_allowed);
        answers.map(|(allowing, logins)| (allowing > 0, logins > 0 && allowing == logins)).collect()
    }

    /// Where the tokens that an API server has cached with a former identity are outside the bounds. `only_gains` is for
    /// states in which aggregated roles have old rules.
    fn cached_violations(
        &self,
        state: &State,
        cached: &CachedTokens,
        (before, after): (&AccessSnapshot, &AccessSnapshot),
        only_gains: bool,
    ) -> Vec<(TransientAccess, SubjectQuery, String)> {
        let state = with_stale_rules(state, &aggregated_rules(state));
        let mut violations = Vec::new();
        for (subject, identities) in cached {
            for (index, request) in self.requests.iter().enumerate() {
                let index = subject * self.requests.len() + index;
                let (before, after) = (before[index], after[index]);
                for identity in identities {
                    let is_allowed = oracle::allows(&state, Aggregation::Reconciled, identity, request);
                    let violation = match is_allowed {
                        true if !before.0 && !after.0 => TransientAccess::Gained,
                        false if before.1 && after.1 && !only_gains => TransientAccess::Lost,
                        _ => continue,
                    };
                    let name = format!("{} as {identity:?}", self.name(index));
                    violations.push((violation, self.subjects[*subject].clone(), name));
                }
            }
        }
        violations
    }

    /// Adds the identities of tokens that a write of aws-auth has replaced.
    fn cache_replaced_tokens(&self, before: &State, after: &State, cached: &mut CachedTokens) {
        for (index, who) in self.subjects.iter().enumerate() {
            let (former, now) = (oracle::identities(before, who), oracle::identities(after, who));
            cached.entry(index).or_default().extend(former.into_iter().filter(|old| !now.contains(old)).flatten());
        }
    }

    fn name(&self, index: usize) -> String {
        let request = &self.requests[index % self.requests.len()];
        format!("{} {request:?}", self.subjects[index / self.requests.len()])
    }

    /// Where a snapshot is outside the bounds of the snapshots before and after the plan.
    pub(super) fn violations(
        &self,
        now: &AccessSnapshot,
        before: &AccessSnapshot,
        after: &AccessSnapshot,
        only_gains: bool,
    ) -> Vec<(TransientAccess, SubjectQuery, String)> {
        let mut violations = Vec::new();
        for (index, now) in now.iter().enumerate() {
            let (before, after) = (before[index], after[index]);
            let who = &self.subjects[index / self.requests.len()];
            if now.0 && !before.0 && !after.0 {
                violations.push((TransientAccess::Gained, who.clone(), self.name(index)));
            }
            if before.1 && after.1 && !now.1 && !only_gains {
                violations.push((TransientAccess::Lost, who.clone(), self.name(index)));
            }
        }
        violations
    }
}

/// Returns whether a probe succeeds.
pub(super) fn is_allowed(state: &State, probe: &AccessProbe) -> bool {
    let request = match &probe.request {
        ProbeRequest::Resource { verb, api_group, resource, subresource, name, namespace } => {
            let path = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
            Request::object(verb, api_group, &path).with_name(name).in_namespace(namespace)
        }
        ProbeRequest::NonResource { verb, path } => Request::url(verb, path),
    };
    oracle::allows(state, Aggregation::Reconciled, &(probe.username.clone(), probe.groups.clone()), &request)
}

/// The rules of aggregated roles, by key.
pub(super) type RulesByRole = BTreeMap<ObjectKey, Vec<crate::state::rbac::Rule>>;

pub(super) fn aggregated_rules(state: &State) -> RulesByRole {
    let aggregated = state.roles.iter().filter(|(_, role)| role.aggregation.is_some());
    aggregated.map(|(key, _)| (key.clone(), oracle::rules(state, Aggregation::Reconciled, key).into_owned())).collect()
}

/// Fills in the aggregated roles. Rules that were added by hand are lost as soon as the controller finds others.
pub(super) fn run_controller(state: &mut State) {
    for (key, rules) in aggregated_rules(state) {
        let role = state.roles.get_mut(&key).unwrap();
        if role.rules != rules {
            role.rules = rules;
            role.meta.rules_manager = RulesManager::AggregationController;
        }
    }
}

/// Returns the state with the rules that aggregated roles had in an earlier state.
pub(super) fn with_stale_rules(state: &State, earlier: &RulesByRole) -> State {
    let mut state = state.clone();
    for (key, rules) in earlier {
        if let Some(role) = state.roles.get_mut(key).filter(|role| role.aggregation.is_some()) {
            role.rules.clone_from(rules);
            role.aggregation = None;
        }
    }
    state
}

/// Returns whether a role that is aggregated now had other rules earlier.
pub(super) fn is_stale(earlier: &RulesByRole, now: &RulesByRole) -> bool {
    now.iter().any(|(key, rules)| earlier.get(key).is_some_and(|earlier| earlier != rules))
}

/// Parses the subject of a window, which can be the sessions of a role that have a name.
fn parse_window_subject(text: &str) -> SubjectQuery {
    let Some((role, session)) = text.split_once(" for sessions named `") else {
        return SubjectQuery::parse(text).unwrap();
    };
    let session = SessionAttributes::named(session.strip_suffix('`').unwrap());
    SubjectQuery::Arn(IamIdentity::parse(role).unwrap().with_session(&session).unwrap())
}

/// Returns whether a window of one subject also covers another: a session of a role, a member of a group, a principal
/// with a username, or a principal in another case that the same entry matches.
fn covers_subject(window_subject: &str, who: &SubjectQuery, state: &State) -> bool {
    let access = AccessView::new(state, Aggregation::Reconciled);
    let window = parse_window_subject(window_subject);
    let authentication = access.authenticate(who);
    let matches_window = |identity: &Identity| match &window {
        SubjectQuery::Group(name) => identity.is_in_group(name),
        SubjectQuery::User(name) => identity.username.as_ref().and_then(RenderedName::as_literal) == Some(name),
        SubjectQuery::Arn(caller) => {
            matches!(who, SubjectQuery::Arn(other) if other.comparison_key() == caller.comparison_key())
                && access.authenticate(&window) == authentication
        }
        SubjectQuery::ServiceAccount { namespace, name } => {
            identity.matches_subject(&Subject::ServiceAccount { namespace: namespace.clone(), name: name.clone() })
        }
        SubjectQuery::Account(_) => false,
    };
    let name = who.to_string();
    let is_session =
        name.strip_prefix(window_subject).is_some_and(|rest| rest.is_empty() || rest.starts_with(" for sessions "));
    // A window of a principal covers the username and groups that its entry gives.
    let window_authentication = access.authenticate(&window);
    let is_part_of = |identity: &Identity, other: &Identity| {
        (identity.username.is_none() || identity.username == other.username)
            && identity.groups.iter().all(|group| other.groups.contains(group))
    };
    let is_covered_by_principal = window_subject.starts_with("arn:")
        && authentication.identities().next().is_some()
        && authentication
            .identities()
            .all(|identity| window_authentication.identities().any(|other| is_part_of(identity, other)));
    is_session || is_covered_by_principal || authentication.identities().any(matches_window)
}

/// Applies the steps, those of one stage in a random order, and checks the bounds after each.
pub(super) fn apply_and_check(
    start: &Cluster,
    OrderedSteps { steps, waits, windows, .. }: &OrderedSteps,
    universe: &Universe,
    expected: &State,
    random_below: &mut impl FnMut(usize) -> usize,
) -> Result<Vec<Cluster>, String> {
    let mut cluster = start.clone();
    let mut clusters = vec![cluster.clone()];
    let (before, after) = (universe.observe(&cluster.state()), universe.observe(expected));
    let mut versions = BTreeMap::new();
    let mut earlier = vec![aggregated_rules(&cluster.state())];
    let mut stages: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        stages.entry(step.stage).or_default().push(number);
    }
    let (mut cached, mut stages_done) = (CachedTokens::new(), 0);
    for (stage, mut numbers) in stages {
        let now = cluster.state();
        if waits.iter().any(|wait| (stages_done..stage).contains(&wait.stage)) {
            cached.clear();
        }
        stages_done = stage + 1;
        for probe in numbers.iter().flat_map(|number| &steps[*number].wait_for) {
            if !is_allowed(&now, probe) {
                return Err(format!("this probe can never succeed: {probe:?}"));
            }
        }
        for index in (1..numbers.len()).rev() {
            numbers.swap(index, random_below(index + 1));
        }
        for number in numbers {
            let maps_principals =
                matches!(steps[number].object.kind(), ObjectKind::ConfigMap | ObjectKind::AccessEntry);
            let former = maps_principals.then(|| cluster.state());
            cluster.apply_step(number, &steps[number], &mut versions);
            let state = cluster.state();
            if let Some(former) = former {
                universe.cache_replaced_tokens(&former, &state, &mut cached);
            }
            let sides = (&before, &after);
            let mut violations = universe.violations(&universe.observe(&state), &before, &after, false);
            violations.extend(universe.cached_violations(&state, &cached, sides, false));
            let is_reported = |fate: TransientAccess, who: &SubjectQuery, is_stale: bool| {
                windows.iter().any(|window| {
                    let is_controller_delay = window.reason.starts_with("the controller");
                    window.step <= number
                        && window.access == fate
                        && (is_stale || !is_controller_delay)
                        && covers_subject(&window.subject, who, &state)
                })
            };
            let violations: Vec<_> =
                violations.into_iter().filter(|(fate, who, _)| !is_reported(*fate, who, false)).collect();
            if !violations.is_empty() {
                return Err(format!("after step {number} ({}): {violations:#?}", steps[number].description));
            }
            let now = aggregated_rules(&state);
            for earlier in earlier.iter().filter(|earlier| is_stale(earlier, &now)) {
                let stale = with_stale_rules(&state, earlier);
                let mut violations = universe.violations(&universe.observe(&stale), &before, &after, true);
                violations.extend(universe.cached_violations(&stale, &cached, sides, true));
                let violations: Vec<_> =
                    violations.into_iter().filter(|(fate, who, _)| !is_reported(*fate, who, true)).collect();
                if !violations.is_empty() {
                    return Err(format!(
                        "with stale rules after step {number} ({}): {violations:#?}",
                        steps[number].description
                    ));
                }
            }
            if !earlier.contains(&now) {
                earlier.push(now);
            }
            clusters.push(cluster.clone());
        }
    }
    Ok(clusters)
}

/// Checks that two states have the same content, without ownership marks and versions.
pub(super) fn check_same_content(state: &State, expected: &State) -> Result<(), String> {
    let names = |state: &State| -> Vec<String> {
        state.roles.keys().chain(state.bindings.keys()).map(ToString::to_string).collect()
    };
    if names(state) != names(expected) {
        return Err(format!("different objects: {:?}", names(state)));
    }
    for (key, role) in &expected.roles {
        let now = &state.roles[key];
        if now.aggregation != role.aggregation || role.aggregation.is_none() && now.rules != role.rules {
            return Err(format!("{key}: {now:?}, expected {role:?}"));
        }
        if content_labels(&now.meta) != content_labels(&role.meta) {
            return Err(format!("{key}: {:?}, expected {:?}", now.meta.labels, role.meta.labels));
        }
    }
    for (key, binding) in &expected.bindings {
        let now = &state.bindings[key];
        if now.subjects != binding.subjects || now.role_ref != binding.role_ref {
            return Err(format!("{key}: {now:?}, expected {binding:?}"));
        }
    }
    let entries = |state: &State| {
        let mut all: Vec<_> = entries_of(state.aws_auth.as_ref())
            .into_iter()
            .map(|entry| (section_of(&entry).key(), entry_key(&entry), entry.username, entry.groups))
            .collect();
        all.sort();
        all
    };
    let left = access_entry_writes(state, expected);
    if !left.is_empty() {
        return Err(format!("access entries: {left:?}"));
    }
    let (actual, expected) = (entries(state), entries(expected));
    if actual == expected { Ok(()) } else { Err(format!("aws-auth: {actual:?}, expected {expected:?}")) }
}
