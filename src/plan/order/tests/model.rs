//! A cluster of a few objects that is planned for and written to, and the frame as the plain evaluator sees it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::tests::oracle;
use crate::access::{AccessView, Aggregation, Identity, RenderedName, Request, SubjectQuery};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::names::ObjectKey;
use crate::plan::order::{Author, order};
use crate::plan::probes::{AccessProbe, AccessWindow, ProbeRequest, TransientAccess};
use crate::plan::{PlanBuilder, Step, entries, objects};
use crate::policy::OwnershipSpec;
use crate::policy::expand::Desired;
use crate::state::State;
use crate::state::aws_auth::{Entry, EntryEdit, EntryPrincipal, Section, edit_section};
use crate::state::config_map::{AwsAuth, config_map_to_json, entry_key};
use crate::state::object::{binding_to_json, role_to_json};
use crate::state::owner::content_labels;
use crate::state::rbac::Subject;
use crate::state::write::{AcceptedWrite, ObjectVersion, Precondition, ResolvedPrecondition, accept};

pub(super) const POLICY: &str = "p";

/// Where an entry stands.
pub(super) fn section_of(entry: &Entry) -> Section {
    match entry.principal {
        EntryPrincipal::Role(_) | EntryPrincipal::Sso(_) => Section::Roles,
        EntryPrincipal::User(_) => Section::Users,
        EntryPrincipal::Account(_) => Section::Accounts,
    }
}

/// aws-auth as somebody would have written it.
pub(super) fn auth_of(entries: &[Entry]) -> AwsAuth {
    let text = |section: Section| {
        let adds: Vec<EntryEdit> =
            entries.iter().filter(|entry| section_of(entry) == section).cloned().map(EntryEdit::Add).collect();
        if adds.is_empty() { "[]\n".to_owned() } else { edit_section(section, Some("# ours\n"), &adds).unwrap() }
    };
    let data = Section::ALL.map(|section| (section.key().to_owned(), text(section)));
    AwsAuth { data: data.into(), ..AwsAuth::default() }
}

/// All entries of aws-auth, in the order in which they stand.
fn entries_of(auth: Option<&AwsAuth>) -> Vec<Entry> {
    let auth = auth.unwrap();
    let all = Section::ALL.into_iter().flat_map(|section| auth.parse_section(section).unwrap().entries);
    all.map(|found| found.entry).collect()
}

/// The objects of a cluster as JSON, each with its version.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) objects: BTreeMap<ObjectKey, (Value, ObjectVersion)>,
    clock: usize,
}

impl Cluster {
    pub(super) fn of(state: &State) -> Self {
        let mut cluster = Self { objects: BTreeMap::new(), clock: 1 };
        if let Some(auth) = &state.aws_auth {
            let annotations = &auth.meta.annotations;
            cluster.store(&ObjectKey::aws_auth(), config_map_to_json(&auth.data, annotations));
        }
        for (key, role) in &state.roles {
            let mut body = role_to_json(key, role);
            if role.aggregation.is_some() {
                body["rules"] = json!(role.rules);
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
        let version = ObjectVersion::from_object(&body).unwrap();
        self.objects.insert(key.clone(), (body, version));
    }

    pub(super) fn state(&self) -> State {
        let mut state = State::default();
        for (key, (body, _)) in &self.objects {
            state.insert_object(key, body).unwrap();
        }
        state
    }

    /// Makes a step as an apply would; `versions` are those that earlier steps left.
    pub(super) fn make(&mut self, number: usize, step: &Step, versions: &mut BTreeMap<usize, ObjectVersion>) {
        let expected = match &step.precondition {
            Precondition::Absent => ResolvedPrecondition::Absent,
            Precondition::Unchanged { uid, resource_version } => ResolvedPrecondition::Version(ObjectVersion {
                uid: uid.clone(),
                resource_version: resource_version.clone(),
            }),
            Precondition::AsWrittenByStep { step } => ResolvedPrecondition::Version(versions[step].clone()),
        };
        let existing = self.objects.get(&step.object).cloned();
        let there = existing.as_ref().map(|(body, version)| (body, version));
        let answer = accept(&step.object, there, true, &step.write, &expected);
        match answer.unwrap_or_else(|why| panic!("{why}: {step:#?}")) {
            AcceptedWrite::Stored(body) => {
                self.store(&step.object, body);
                versions.insert(number, self.objects[&step.object].1.clone());
            }
            AcceptedWrite::Unchanged => drop(versions.insert(number, self.objects[&step.object].1.clone())),
            AcceptedWrite::Deleted => drop(self.objects.remove(&step.object)),
        }
    }
}

/// What a plan for the policy has to write, in its order, and the moments that it says.
pub(super) fn ordered(live: &State, desired: &Desired) -> (Vec<Step>, Vec<AccessWindow>) {
    let sources = SourceMap::default();
    let ownership = OwnershipSpec::default();
    let mut draft = PlanBuilder {
        policy: POLICY,
        sources: &sources,
        changes: Vec::new(),
        writes: Vec::new(),
        diagnostics: Vec::new(),
    };
    entries::plan_entries(&mut draft, desired, live.aws_auth.as_ref(), &ownership);
    objects::plan_objects(&mut draft, desired, live, &ownership);
    let errors: Vec<&Diagnostic> = draft.diagnostics.iter().filter(|finding| finding.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    order(draft.writes, live, Author { policy: POLICY }).unwrap()
}

/// Who may be asked about, and what.
pub(super) struct Universe {
    pub(super) everybody: Vec<SubjectQuery>,
    pub(super) requests: Vec<Request>,
}

/// What everybody may at times, and what always.
pub(super) type Picture = Vec<(bool, bool)>;

impl Universe {
    pub(super) fn look(&self, state: &State) -> Picture {
        let state = late(state, &gathered(state));
        let one = |who: &SubjectQuery| oracle::all_allowed(&state, Aggregation::Reconciled, who, &self.requests);
        let answers = self.everybody.iter().flat_map(one);
        answers.map(|(allowing, logins)| (allowing > 0, logins > 0 && allowing == logins)).collect()
    }

    fn name(&self, place: usize) -> String {
        let request = &self.requests[place % self.requests.len()];
        format!("{} {request:?}", self.everybody[place / self.requests.len()])
    }

    /// Where a picture leaves the frame of two others.
    pub(super) fn leaves(
        &self,
        now: &Picture,
        before: &Picture,
        after: &Picture,
        late: bool,
    ) -> Vec<(TransientAccess, SubjectQuery, String)> {
        let mut found = Vec::new();
        for (place, now) in now.iter().enumerate() {
            let (before, after) = (before[place], after[place]);
            let who = &self.everybody[place / self.requests.len()];
            if now.0 && !before.0 && !after.0 {
                found.push((TransientAccess::Gained, who.clone(), self.name(place)));
            }
            if before.1 && after.1 && !now.1 && !late {
                found.push((TransientAccess::Lost, who.clone(), self.name(place)));
            }
        }
        found
    }
}

/// Whether a question is answered with yes.
pub(super) fn is_seen(state: &State, asked: &AccessProbe) -> bool {
    let request = match &asked.request {
        ProbeRequest::Resource { verb, api_group, resource, subresource, name, namespace } => {
            let path = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
            Request::object(verb, api_group, &path).with_name(name).in_namespace(namespace)
        }
        ProbeRequest::NonResource { verb, path } => Request::url(verb, path),
    };
    oracle::allows(state, Aggregation::Reconciled, &(asked.username.clone(), asked.groups.clone()), &request)
}

/// What aggregated roles give, by name.
pub(super) type Gathered = BTreeMap<ObjectKey, Vec<crate::state::rbac::Rule>>;

pub(super) fn gathered(state: &State) -> Gathered {
    let aggregated = state.roles.iter().filter(|(_, role)| role.aggregation.is_some());
    aggregated.map(|(key, _)| (key.clone(), oracle::rules(state, Aggregation::Reconciled, key))).collect()
}

/// The state with aggregated roles as some earlier state had them.
pub(super) fn late(state: &State, earlier: &Gathered) -> State {
    let mut state = state.clone();
    for (key, rules) in earlier {
        if let Some(role) = state.roles.get_mut(key).filter(|role| role.aggregation.is_some()) {
            role.rules.clone_from(rules);
            role.aggregation = None;
        }
    }
    state
}

/// Whether what is said of one is said of another: of a role's sessions, of all whom a group or a username means, and of
/// a caller in another case where the same entry answers for both.
fn is_said_of(said: &str, who: &SubjectQuery, state: &State) -> bool {
    let access = AccessView::new(state, Aggregation::Reconciled);
    let admission = access.authenticate(who);
    let is_meant = |identity: &Identity| match SubjectQuery::parse(said).unwrap() {
        SubjectQuery::Group(name) => identity.is_in_group(&name),
        SubjectQuery::User(name) => identity.username.as_ref().and_then(RenderedName::as_literal) == Some(&name),
        SubjectQuery::Arn(caller) => {
            matches!(who, SubjectQuery::Arn(other) if other.comparison_key() == caller.comparison_key())
                && access.authenticate(&SubjectQuery::Arn(caller)) == admission
        }
        SubjectQuery::ServiceAccount { namespace, name } => {
            identity.matches_subject(&Subject::ServiceAccount { namespace, name })
        }
        SubjectQuery::Account(_) => false,
    };
    let name = who.to_string();
    let of_session = name.strip_prefix(said).is_some_and(|rest| rest.is_empty() || rest.starts_with(" (session "));
    // Where an entry stands behind a name the principal says it.
    let admitted = SubjectQuery::parse(said).map(|said| access.authenticate(&said)).unwrap();
    let is_behind = |one: &Identity, other: &Identity| {
        (one.username.is_none() || one.username == other.username)
            && one.groups.iter().all(|group| other.groups.contains(group))
    };
    let by_principal = said.starts_with("arn:")
        && admission.identities().next().is_some()
        && admission.identities().all(|one| admitted.identities().any(|is| is_behind(one, is)));
    of_session || by_principal || admission.identities().any(is_meant)
}

/// Makes the steps, those of a stage in the order of `dice`, and looks after each.
pub(super) fn walk(
    start: &Cluster,
    steps: &[Step],
    windows: &[AccessWindow],
    universe: &Universe,
    wanted: &State,
    dice: &mut impl FnMut(usize) -> usize,
) -> Result<Vec<Cluster>, String> {
    let mut cluster = start.clone();
    let mut passed = vec![cluster.clone()];
    let (before, after) = (universe.look(&cluster.state()), universe.look(wanted));
    let mut versions = BTreeMap::new();
    let mut earlier = vec![gathered(&cluster.state())];
    let mut stages: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        stages.entry(step.stage).or_default().push(number);
    }
    for mut numbers in stages.into_values() {
        let now = cluster.state();
        for asked in numbers.iter().flat_map(|number| &steps[*number].wait_for) {
            if !is_seen(&now, asked) {
                return Err(format!("nobody will ever see {asked:?}"));
            }
        }
        for place in (1..numbers.len()).rev() {
            numbers.swap(place, dice(place + 1));
        }
        for number in numbers {
            cluster.make(number, &steps[number], &mut versions);
            let state = cluster.state();
            let found = universe.leaves(&universe.look(&state), &before, &after, false);
            let begun = |fate: TransientAccess, who: &SubjectQuery, late: bool| {
                windows.iter().any(|window| {
                    let said = window.reason.starts_with("the controller");
                    window.step <= number
                        && window.access == fate
                        && (late || !said)
                        && is_said_of(&window.subject, who, &state)
                })
            };
            let found: Vec<_> = found.into_iter().filter(|(fate, who, _)| !begun(*fate, who, false)).collect();
            if !found.is_empty() {
                return Err(format!("after step {number} ({}): {found:#?}", steps[number].description));
            }
            for earlier in &earlier {
                let found = universe.leaves(&universe.look(&late(&state, earlier)), &before, &after, true);
                let found: Vec<_> = found.into_iter().filter(|(fate, who, _)| !begun(*fate, who, true)).collect();
                if !found.is_empty() {
                    return Err(format!("late after step {number} ({}): {found:#?}", steps[number].description));
                }
            }
            let now = gathered(&state);
            if !earlier.contains(&now) {
                earlier.push(now);
            }
            passed.push(cluster.clone());
        }
    }
    Ok(passed)
}

/// Whether the objects say the same, whatever their marks and versions.
pub(super) fn same(state: &State, wanted: &State) -> Result<(), String> {
    let names = |state: &State| -> Vec<String> {
        state.roles.keys().chain(state.bindings.keys()).map(ToString::to_string).collect()
    };
    if names(state) != names(wanted) {
        return Err(format!("other objects: {:?}", names(state)));
    }
    for (key, role) in &wanted.roles {
        let now = &state.roles[key];
        if now.aggregation != role.aggregation || role.aggregation.is_none() && now.rules != role.rules {
            return Err(format!("{key}: {now:?} and not {role:?}"));
        }
        if content_labels(&now.meta) != content_labels(&role.meta) {
            return Err(format!("{key}: {:?} and not {:?}", now.meta.labels, role.meta.labels));
        }
    }
    for (key, binding) in &wanted.bindings {
        let now = &state.bindings[key];
        if now.subjects != binding.subjects || now.role_ref != binding.role_ref {
            return Err(format!("{key}: {now:?} and not {binding:?}"));
        }
    }
    let said = |state: &State| {
        let mut all: Vec<_> = entries_of(state.aws_auth.as_ref())
            .into_iter()
            .map(|entry| (section_of(&entry).key(), entry_key(&entry), entry.username, entry.groups))
            .collect();
        all.sort();
        all
    };
    let (now, then) = (said(state), said(wanted));
    if now == then { Ok(()) } else { Err(format!("aws-auth: {now:?} and not {then:?}")) }
}
