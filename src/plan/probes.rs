//! The requests that must be allowed before a step is written, and temporary access changes that the steps cause or may
//! cause.
//!
//! An API server acts on a write once its informers have seen it. A step that revokes access which an earlier step
//! grants in another way must therefore wait until the API server allows the access in the new way.

use std::collections::BTreeMap;
use std::fmt;

use super::Step;
use super::state_after::apply_write;
use crate::access::{AccessDecision, AccessView, Aggregation, ObjectRequest, Request, SubjectQuery};
use crate::state::State;
use crate::state::object::ObjectError;

/// A request that the API server must allow before a step is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessProbe {
    /// `None` if the probe is for any member of the group.
    pub(crate) username: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) request: ProbeRequest,
}

impl AccessProbe {
    /// Returns whether rules allow the request. RBAC rules only allow, so the user with its groups is allowed to do
    /// whatever the username or one of the groups is allowed to do.
    pub(crate) fn is_allowed(&self, access: &AccessView<'_>) -> bool {
        let request = Request::from(&self.request);
        let user = self.username.as_deref().map(SubjectQuery::from_username);
        let groups = self.groups.iter().map(|group| SubjectQuery::Group(group.clone()));
        user.into_iter().chain(groups).any(|subject| access.can(&subject, &request).decision == AccessDecision::Allowed)
    }
}

/// Removes the probes that cannot succeed, because the state before their stage does not allow the request.
///
/// While a window is open, a subject lacks access that the live and the planned state grant. A step that grants it again
/// and also revokes some must not wait for what only it, or a later step, grants.
///
/// # Errors
/// If the body of a step is not valid for its kind.
pub(super) fn remove_impossible_probes(steps: &mut [Step], live: &State) -> Result<(), ObjectError> {
    let mut stages: BTreeMap<usize, Vec<&mut Step>> = BTreeMap::new();
    for step in steps {
        stages.entry(step.stage).or_default().push(step);
    }
    let mut state = live.clone();
    for stage in stages.into_values() {
        let is_waiting = stage.iter().any(|step| !step.wait_for.is_empty());
        let access = is_waiting.then(|| AccessView::new(&state, Aggregation::Reconciled));
        let mut writes = Vec::with_capacity(stage.len());
        for step in stage {
            step.wait_for.retain(|probe| access.as_ref().is_none_or(|access| probe.is_allowed(access)));
            writes.push(&*step);
        }
        drop(access);
        for step in writes {
            apply_write(&mut state, &step.object, &step.write)?;
        }
    }
    Ok(())
}

/// The attributes of a SubjectAccessReview. An empty string means that the attribute is not set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProbeRequest {
    Resource { verb: String, api_group: String, resource: String, subresource: String, name: String, namespace: String },
    NonResource { verb: String, path: String },
}

/// A temporary access change that rolecall found no order without: a subject has access that neither the live nor the
/// planned state grants, or lacks access that both grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccessWindow {
    /// The index of the step that causes it.
    pub(crate) step: usize,
    pub(crate) subject: String,
    pub(crate) access: TransientAccess,
    /// The requests, for example `get secrets, in n1`.
    pub(crate) request: String,
    pub(crate) reason: String,
}

/// A temporary access change that the verifier could neither find nor rule out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnprovenAccess {
    /// The index of the step after which the change is possible.
    pub(crate) step: usize,
    pub(crate) subject: String,
    pub(crate) access: TransientAccess,
    /// The requests, for example `get secrets, in n1`.
    pub(crate) request: String,
    /// Why it is not proven.
    pub(crate) reason: String,
}

/// Formatted as `group:g does not gain get pods` or `group:g keeps get pods`.
impl fmt::Display for UnprovenAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, request, .. } = self;
        match self.access {
            TransientAccess::Gained => write!(f, "{subject} does not gain {request}"),
            TransientAccess::Lost => write!(f, "{subject} keeps {request}"),
        }
    }
}

/// Whether a temporary change grants or revokes access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TransientAccess {
    Gained,
    Lost,
}

impl From<Request> for ProbeRequest {
    fn from(request: Request) -> Self {
        match request {
            Request::Object(request) => Self::Resource {
                verb: request.verb,
                api_group: request.group,
                resource: request.resource,
                subresource: request.subresource,
                name: request.name,
                namespace: request.namespace,
            },
            Request::Url { verb, path } => Self::NonResource { verb, path },
        }
    }
}

impl From<&ProbeRequest> for Request {
    fn from(question: &ProbeRequest) -> Self {
        match question {
            ProbeRequest::Resource { verb, api_group, resource, subresource, name, namespace } => {
                Self::Object(ObjectRequest {
                    verb: verb.clone(),
                    group: api_group.clone(),
                    resource: resource.clone(),
                    subresource: subresource.clone(),
                    name: name.clone(),
                    namespace: namespace.clone(),
                })
            }
            ProbeRequest::NonResource { verb, path } => Self::Url { verb: verb.clone(), path: path.clone() },
        }
    }
}

impl fmt::Display for AccessProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.username {
            Some(username) => write!(f, "user:{username}")?,
            None => write!(f, "group:{}", self.groups.first().map_or("", String::as_str))?,
        }
        write!(f, " can {}", Request::from(&self.request))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::ObjectKey;
    use crate::plan::{Plan, plan};
    use crate::policy::load_policy;
    use crate::state::object::{Binding, Role};
    use crate::state::object_meta::ObjectMeta;
    use crate::state::rbac::{RoleRef, Rule, Subject};
    use crate::state::write::{Precondition, WriteRequest};

    fn rule(verb: &str) -> Rule {
        let list = |value: &str| vec![value.to_owned()];
        Rule { verbs: list(verb), api_groups: list(""), resources: list("pods"), ..Rule::default() }
    }

    fn probe(verb: &str) -> AccessProbe {
        let request = ProbeRequest::from(Request::object(verb, "", "pods"));
        AccessProbe { username: None, groups: vec!["g".to_owned()], request }
    }

    #[test]
    fn step_does_not_wait_for_what_only_it_grants() {
        let mut live = State::default();
        let (role, binding) = (ObjectKey::cluster_role("r"), ObjectKey::binding(None, "b"));
        live.roles.insert(role.clone(), Role { rules: vec![rule("list")], ..Role::default() });
        let bound = Binding {
            meta: ObjectMeta::default(),
            role_ref: RoleRef::ClusterRole("r".to_owned()),
            subjects: vec![Subject::Group("g".to_owned())],
            namespaces: None,
        };
        live.bindings.insert(binding, bound);
        let step = |stage: usize, verb: &str| Step {
            object: role.clone(),
            write: WriteRequest::Patch(json!({ "rules": [rule(verb)] })),
            precondition: Precondition::Absent,
            stage,
            wait_for: vec![probe("list"), probe("create")],
            description: String::new(),
        };
        let mut steps = [step(0, "create"), step(1, "watch")];
        remove_impossible_probes(&mut steps, &live).unwrap();
        assert_eq!(steps.map(|step| step.wait_for), [vec![probe("list")], vec![probe("create")]]);
    }

    fn make_plan(groups: [&str; 2], verbs: [&str; 2], live: &State) -> Plan {
        let principal = |name: &str, group: &str| {
            format!(
                "[principals.{name}]\nrole = \"arn:aws:iam::111122223333:role/{name}\"\nkind = \"node\"\ngroups = [\"{group}\"]\n"
            )
        };
        let role = |name: &str, verbs: &str| {
            format!(
                "[groups.{name}]\n[cluster-roles.{name}]\nrules = [{{ verbs = {verbs}, resources = [\"pods\"] }}]\n\
                 [bindings.{name}]\ncluster-role = \"{name}\"\ngroups = [\"{name}\"]\n"
            )
        };
        let text = format!(
            "[policy]\nname = \"p\"\n{}{}{}{}",
            principal("n1", groups[0]),
            principal("n2", groups[1]),
            role("a", verbs[0]),
            role("b", verbs[1])
        );
        let (policy, _) = load_policy(vec![("policy.toml".to_owned(), text)]).unwrap();
        plan(&policy, None, live, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap()
    }

    /// Two node roles exchange their groups, and the groups exchange their access. A node keeps its username and cannot
    /// have a temporary group, so rolecall finds no order without a window.
    #[test]
    fn plan_with_windows_waits_only_for_what_earlier_steps_grant() {
        let (first, second) = ("[\"create\", \"list\"]", "[\"list\", \"watch\"]");
        let empty = State::default();
        let live = make_plan(["a", "b"], [first, second], &empty).state_after(&empty).unwrap();
        let plan = make_plan(["b", "a"], [second, first], &live);
        assert!(!plan.windows.is_empty());
        assert!(plan.steps.iter().any(|step| !step.wait_for.is_empty()));
        for step in &plan.steps {
            let before = plan.state_before_stage(step.stage, &live).unwrap();
            let access = AccessView::new(&before, Aggregation::Reconciled);
            for probe in &step.wait_for {
                assert!(probe.is_allowed(&access), "{}: {probe}", step.description);
            }
        }
    }
}
