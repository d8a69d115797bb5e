//! A cluster of a few objects that is planned for and written to, and the frame as the plain evaluator sees it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::access::tests::oracle;
use crate::access::{Moment, Request, Who};
use crate::names::ObjectKey;
use crate::plan::awaited::{Await, Question, Window};
use crate::plan::entries::splits::Splits;
use crate::plan::order::{Author, Needs, Planned, Turn, order};
use crate::plan::{Step, awaited::Passing};
use crate::state::State;
use crate::state::aws_auth::{Edit, Entry, Reading, Section, edit};
use crate::state::entry_marks::EntryMarks;
use crate::state::mapping::{AwsAuth, config_map_json, entry_key};
use crate::state::object::{aggregation_json, binding_json, role_json, subjects_json};
use crate::state::write::{Accepted, Expected, Precondition, Version, Write, accept};

pub(super) const POLICY: &str = "p";

/// aws-auth as somebody would have written it.
pub(super) fn text_of(entries: &[Entry]) -> String {
    let adds: Vec<Edit> = entries.iter().cloned().map(Edit::Add).collect();
    if adds.is_empty() { "[]\n".to_owned() } else { edit(Section::Roles, Some("# ours\n"), &adds).unwrap() }
}

pub(super) fn auth_of(entries: &[Entry]) -> AwsAuth {
    AwsAuth { data: [("mapRoles".to_owned(), text_of(entries))].into(), ..AwsAuth::default() }
}

/// The objects of a cluster as JSON, each with its version.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) objects: BTreeMap<ObjectKey, (Value, Version)>,
    clock: usize,
}

impl Cluster {
    pub(super) fn of(state: &State) -> Self {
        let mut cluster = Self { objects: BTreeMap::new(), clock: 1 };
        if let Some(auth) = &state.aws_auth {
            let annotations = &auth.meta.annotations;
            cluster.store(&ObjectKey::aws_auth(), config_map_json(&auth.data, annotations));
        }
        for (key, role) in &state.roles {
            let mut body = role_json(key, role);
            if role.aggregation.is_some() {
                body["rules"] = json!(role.rules);
            }
            cluster.store(key, body);
        }
        for (key, binding) in &state.bindings {
            cluster.store(key, binding_json(key, binding));
        }
        cluster
    }

    fn store(&mut self, key: &ObjectKey, mut body: Value) {
        self.clock += 1;
        let uid =
            body.pointer("/metadata/uid").and_then(Value::as_str).map_or(format!("u{}", self.clock), str::to_owned);
        body["metadata"]["uid"] = json!(uid);
        body["metadata"]["resourceVersion"] = json!(self.clock.to_string());
        let version = Version::of(&body).unwrap();
        self.objects.insert(key.clone(), (body, version));
    }

    pub(super) fn state(&self) -> State {
        let mut state = State::default();
        for (key, (body, _)) in &self.objects {
            state.put(key, body).unwrap();
        }
        state
    }

    /// Makes a step as an apply would; `versions` are those that earlier steps left.
    pub(super) fn make(&mut self, number: usize, step: &Step, versions: &mut BTreeMap<usize, Version>) {
        let expected = match &step.precondition {
            Precondition::Absent => Expected::Absent,
            Precondition::Unchanged { uid, resource_version } => {
                Expected::Version(Version { uid: uid.clone(), resource_version: resource_version.clone() })
            }
            Precondition::AsWrittenByStep { step } => Expected::Version(versions[step].clone()),
        };
        let existing = self.objects.get(&step.object).cloned();
        let there = existing.as_ref().map(|(body, version)| (body, version));
        let answer = accept(&step.object, there, true, &step.write, &expected);
        match answer.unwrap_or_else(|why| panic!("{why}: {step:#?}")) {
            Accepted::Stored(body) => {
                self.store(&step.object, body);
                versions.insert(number, self.objects[&step.object].1.clone());
            }
            Accepted::Unchanged => drop(versions.insert(number, self.objects[&step.object].1.clone())),
            Accepted::Deleted => drop(self.objects.remove(&step.object)),
        }
    }
}

fn needs(state: &State, key: &ObjectKey) -> Needs {
    let meta = state.meta(key).unwrap();
    Needs::AsRead { uid: meta.uid.clone(), resource_version: meta.resource_version.clone().unwrap_or_default() }
}

/// What a plan from one state to the other has to write.
pub(super) fn planned(live: &State, wanted: &State, entries: &[Entry]) -> Vec<Planned> {
    let mut all = Vec::new();
    let mut push = |object: &ObjectKey, turn: Turn, needs: Needs| {
        all.push(Planned { object: object.clone(), turn, needs, why: format!("write {object}") });
    };
    for key in live.roles.keys().chain(wanted.roles.keys()).collect::<BTreeSet<_>>() {
        match (live.roles.get(key), wanted.roles.get(key)) {
            (None, Some(role)) => push(key, Turn::Create(role_json(key, role)), Needs::Absent),
            (Some(_), None) => push(key, Turn::Delete, needs(live, key)),
            (Some(old), Some(new)) => {
                let same_rules = match (&old.aggregation, &new.aggregation) {
                    (Some(one), Some(other)) => one == other,
                    (None, None) => old.rules == new.rules,
                    _ => false,
                };
                if same_rules && old.meta.labels == new.meta.labels {
                    continue;
                }
                let mut patch = match &new.aggregation {
                    Some(selectors) => json!({ "aggregationRule": aggregation_json(selectors) }),
                    None => json!({ "rules": new.rules, "aggregationRule": null }),
                };
                let mut labels = json!(new.meta.labels);
                for gone in old.meta.labels.keys().filter(|key| !new.meta.labels.contains_key(*key)) {
                    labels[gone] = Value::Null;
                }
                patch["metadata"] = json!({ "labels": labels });
                let narrows = old.aggregation.is_none()
                    && new.aggregation.is_none()
                    && new.rules.iter().all(|rule| old.rules.contains(rule))
                    && new.meta.labels.keys().all(|key| old.meta.labels.contains_key(key));
                push(key, Turn::Patch { patch, narrows }, needs(live, key));
            }
            (None, None) => unreachable!(),
        }
    }
    for key in live.bindings.keys().chain(wanted.bindings.keys()).collect::<BTreeSet<_>>() {
        match (live.bindings.get(key), wanted.bindings.get(key)) {
            (None, Some(binding)) => push(key, Turn::Create(binding_json(key, binding)), Needs::Absent),
            (Some(_), None) => push(key, Turn::Delete, needs(live, key)),
            (Some(old), Some(new)) if old.role_ref != new.role_ref => {
                let bridge = key.renamed(&format!("{}-rolecall-bridge", key.name()));
                let made = (!live.bindings.contains_key(&bridge)).then(|| (bridge.clone(), binding_json(&bridge, new)));
                push(key, Turn::Replace { body: binding_json(key, new), bridge: made }, needs(live, key));
            }
            (Some(old), Some(new)) => {
                if old.subjects == new.subjects {
                    continue;
                }
                let narrows = new.subjects.iter().all(|subject| old.subjects.contains(subject));
                let patch = json!({ "subjects": subjects_json(&new.subjects) });
                push(key, Turn::Patch { patch, narrows }, needs(live, key));
            }
            (None, None) => unreachable!(),
        }
    }
    map(live, entries, &mut push);
    all
}

fn map(live: &State, entries: &[Entry], push: &mut impl FnMut(&ObjectKey, Turn, Needs)) {
    let auth = live.aws_auth.clone().unwrap();
    let reading: Reading = auth.reading(Section::Roles).unwrap();
    let mut edits = Vec::new();
    for (index, found) in reading.entries.iter().enumerate() {
        match entries.iter().find(|entry| entry_key(entry) == entry_key(&found.entry)) {
            None => edits.push(Edit::Remove { index }),
            Some(entry) if *entry != found.entry => edits.push(Edit::Change { index, to: entry.clone() }),
            Some(_) => {}
        }
    }
    let has = |entry: &&Entry| reading.entries.iter().any(|found| entry_key(&found.entry) == entry_key(entry));
    edits.extend(entries.iter().filter(|entry| !has(entry)).cloned().map(Edit::Add));
    if edits.is_empty() {
        return;
    }
    let text = edit(Section::Roles, auth.data.get("mapRoles").map(String::as_str), &edits).unwrap();
    let write = Write::Patch(json!({ "data": { "mapRoles": text } }));
    let edits = [(Section::Roles, edits)].into();
    let readings = [(Section::Roles, reading)].into();
    let splits = Splits::new(&auth, true, POLICY, &EntryMarks::default(), &BTreeMap::new(), &edits, &readings);
    push(&ObjectKey::aws_auth(), Turn::Map { write, splits: Box::new(splits) }, needs(live, &ObjectKey::aws_auth()));
}

pub(super) fn ordered(live: &State, wanted: &State, entries: &[Entry]) -> (Vec<Step>, Vec<Window>) {
    order(planned(live, wanted, entries), live, Author { policy: POLICY }).unwrap()
}

/// Who may be asked about, and what.
pub(super) struct Universe {
    pub(super) everybody: Vec<Who>,
    pub(super) requests: Vec<Request>,
}

/// What everybody may at times, and what always.
type Picture = Vec<(bool, bool)>;

impl Universe {
    pub(super) fn look(&self, state: &State) -> Picture {
        let state = late(state, &gathered(state));
        let one = |who: &Who| oracle::all_allowed(&state, Moment::Settled, who, &self.requests);
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
    ) -> Vec<(Passing, String, String)> {
        let mut found = Vec::new();
        for (place, now) in now.iter().enumerate() {
            let (before, after) = (before[place], after[place]);
            let who = self.everybody[place / self.requests.len()].to_string();
            if now.0 && !before.0 && !after.0 {
                found.push((Passing::Gains, who.clone(), self.name(place)));
            }
            if before.1 && after.1 && !now.1 && !late {
                found.push((Passing::Loses, who, self.name(place)));
            }
        }
        found
    }
}

/// Whether a question is answered with yes.
pub(super) fn is_seen(state: &State, asked: &Await) -> bool {
    let request = match &asked.question {
        Question::Object { verb, api_group, resource, subresource, name, namespace } => {
            let path = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
            Request::object(verb, api_group, &path).named(name).within(namespace)
        }
        Question::Url { verb, path } => Request::url(verb, path),
    };
    oracle::allows(state, Moment::Settled, &(asked.username.clone(), asked.groups.clone()), &request)
}

/// What aggregated roles give, by name.
type Gathered = BTreeMap<ObjectKey, Vec<crate::state::rbac::Rule>>;

fn gathered(state: &State) -> Gathered {
    let aggregated = state.roles.iter().filter(|(_, role)| role.aggregation.is_some());
    aggregated.map(|(key, _)| (key.clone(), oracle::rules(state, Moment::Settled, key))).collect()
}

/// The state with aggregated roles as some earlier state had them.
fn late(state: &State, earlier: &Gathered) -> State {
    let mut state = state.clone();
    for (key, rules) in earlier {
        if let Some(role) = state.roles.get_mut(key).filter(|role| role.aggregation.is_some()) {
            role.rules.clone_from(rules);
            role.aggregation = None;
        }
    }
    state
}

/// Makes the steps, those of a stage in the order of `dice`, and looks after each.
pub(super) fn walk(
    start: &Cluster,
    steps: &[Step],
    windows: &[Window],
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
        for asked in numbers.iter().flat_map(|number| &steps[*number].awaits) {
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
            let is_late = |window: &Window| window.because.starts_with("the controller");
            if !found.is_empty() && windows.iter().all(is_late) {
                return Err(format!("after step {number} ({}): {found:#?}", steps[number].why));
            }
            for earlier in &earlier {
                let found = universe.leaves(&universe.look(&late(&state, earlier)), &before, &after, true);
                if !found.is_empty() && windows.is_empty() {
                    return Err(format!("late after step {number} ({}): {found:#?}", steps[number].why));
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
pub(super) fn same(state: &State, wanted: &State, entries: &[Entry]) -> Result<(), String> {
    let kinds = |keys: Vec<&ObjectKey>| keys.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    if kinds(state.roles.keys().collect()) != kinds(wanted.roles.keys().collect())
        || kinds(state.bindings.keys().collect()) != kinds(wanted.bindings.keys().collect())
    {
        let left: Vec<String> = state.roles.keys().chain(state.bindings.keys()).map(ToString::to_string).collect();
        return Err(format!("other objects: {left:?}"));
    }
    for (key, role) in &wanted.roles {
        let now = &state.roles[key];
        if now.aggregation != role.aggregation || role.aggregation.is_none() && now.rules != role.rules {
            return Err(format!("{key}: {now:?} and not {role:?}"));
        }
        if now.meta.labels != role.meta.labels {
            return Err(format!("{key}: {:?} and not {:?}", now.meta.labels, role.meta.labels));
        }
    }
    for (key, binding) in &wanted.bindings {
        let now = &state.bindings[key];
        if now.subjects != binding.subjects || now.role_ref != binding.role_ref {
            return Err(format!("{key}: {now:?} and not {binding:?}"));
        }
    }
    let read = state.aws_auth.as_ref().unwrap().reading(Section::Roles).unwrap();
    let mut now: Vec<Entry> = read.entries.into_iter().map(|found| found.entry).collect();
    let mut wanted: Vec<Entry> = entries.to_vec();
    now.sort_by_key(entry_key);
    wanted.sort_by_key(entry_key);
    if now == wanted { Ok(()) } else { Err(format!("aws-auth: {now:?} and not {wanted:?}")) }
}
