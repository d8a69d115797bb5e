//! The difference in access between two states: what each subject gains and loses.
//!
//! Only subjects that a change can affect are compared: the subjects of bindings and roles that differ, and the
//! principals whose aws-auth entries give them another identity. Subjects that match the same bindings on both sides share
//! one result, so that its grant paths name another subject of the same bindings.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::access_view::AccessView;
use super::bound_grants::BoundGrants;
use super::effective_permissions::GrantedRequests;
use super::escalation::{EscalationPath, identity_escalation_paths, newly_opened_paths};
use super::iam_identity::IamIdentity;
use super::identity::{Authentication, Identity, SubjectQuery};
use super::request_set::RequestSetExcept;
use super::session_attributes::SessionAttributes;
use super::session_match::SESSION_NAME_RAW;
use super::template::RenderedName;
use crate::names::{ObjectKey, ObjectKind};
use crate::state::merge_join::{EitherOrBoth, merge_join};
use crate::state::object::Role;
use crate::state::rbac::Subject;

/// The difference in permissions for all subjects that match the same bindings. The grant paths name the bindings and
/// roles, and the first subject of each binding, which is not always the subject of the difference.
#[derive(Debug, Default)]
pub(crate) struct PermissionDiff<'s> {
    pub(crate) gained: Vec<GrantedRequests<'s>>,
    pub(crate) lost: Vec<GrantedRequests<'s>>,
    /// Privilege escalation paths that the gained requests open.
    pub(crate) escalation_paths: Vec<EscalationPath<'s>>,
}

/// The difference in access for one subject.
#[derive(Debug)]
pub(crate) struct SubjectDiff<'s> {
    pub(crate) subject: SubjectQuery,
    pub(crate) before: Authentication,
    pub(crate) after: Authentication,
    pub(crate) permissions: Rc<PermissionDiff<'s>>,
    /// Privilege escalation paths that the new username or groups open.
    pub(crate) identity_paths: Vec<EscalationPath<'s>>,
}

impl PermissionDiff<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { gained, lost, escalation_paths } = self;
        gained.is_empty() && lost.is_empty() && escalation_paths.is_empty()
    }
}

impl SubjectDiff<'_> {
    /// Returns whether the other subject gains and loses the same requests and escalation paths.
    fn has_same_requests(&self, other: &Self) -> bool {
        fn requests<'a, 's>(granted: &'a [GrantedRequests<'s>]) -> Vec<&'a RequestSetExcept<'s>> {
            granted.iter().map(|granted| &granted.requests).collect()
        }
        let Self { subject: _, before: _, after: _, permissions, identity_paths } = self;
        let own: BTreeSet<&str> = permissions.escalation_paths.iter().map(EscalationPath::name).collect();
        requests(&permissions.gained) == requests(&other.permissions.gained)
            && requests(&permissions.lost) == requests(&other.permissions.lost)
            && *identity_paths == other.identity_paths
            && other.permissions.escalation_paths.iter().all(|path| own.contains(path.name()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self { subject: _, before: _, after: _, permissions, identity_paths } = self;
        permissions.is_empty() && identity_paths.is_empty()
    }
}

/// Returns the difference for every subject that gains or loses access. The principals of aws-auth come first, then the
/// subjects of bindings to which no aws-auth entry maps.
pub(crate) fn diff_access<'s>(before: &AccessView<'s>, after: &AccessView<'s>) -> Vec<SubjectDiff<'s>> {
    let mut differ = Differ::new(before, after);
    let changed = ChangedSubjects::new(before, after);
    // A principal with an entry on one side only can authenticate through mapAccounts on the other side. The principal
    // index of that side does not contain it, so the subjects that match it there are collected here.
    let mut account_subjects = [BTreeSet::new(), BTreeSet::new()];
    let mut diffs = Vec::new();
    let mut compared_principals: BTreeSet<SubjectQuery> = BTreeSet::new();
    let mut positions: BTreeMap<SubjectQuery, usize> = BTreeMap::new();
    let mut add = |diff: SubjectDiff<'s>, base: Option<&SubjectQuery>| {
        let base = base.and_then(|base| diffs.get(*positions.get(base)?));
        // The diff of a role is the diff of all of its sessions. A session is added if it gains or loses something else.
        if base.is_none_or(|base: &SubjectDiff<'s>| !base.has_same_requests(&diff)) {
            positions.insert(diff.subject.clone(), diffs.len());
            diffs.push(diff);
        }
    };
    for (_, pair) in merge_join(before.principal_index().by_key(), after.principal_index().by_key()) {
        let (principal, old, new) = match pair {
            EitherOrBoth::Left(old) => {
                (old, Cow::Borrowed(&old.authentication), Cow::Owned(after.authenticate(&old.subject)))
            }
            EitherOrBoth::Right(new) => {
                (new, Cow::Owned(before.authenticate(&new.subject)), Cow::Borrowed(&new.authentication))
            }
            EitherOrBoth::Both(old, new) => {
                (new, Cow::Borrowed(&old.authentication), Cow::Borrowed(&new.authentication))
            }
        };
        // A principal that one side maps with its own entry and the other by mapAccounts has two keys.
        if !compared_principals.insert(principal.subject.clone()) {
            continue;
        }
        for (subjects, authentication) in account_subjects.iter_mut().zip([&old, &new]) {
            if let Cow::Owned(authentication) = authentication {
                subjects.extend(authentication.identities().flat_map(Identity::subjects));
            }
        }
        if old != new || old.identities().any(|identity| changed.matches_any(identity)) {
            let diff = differ.diff(principal.subject.clone(), old.into_owned(), new.into_owned());
            add(diff, principal.variant_of.as_ref());
        }
    }
    for session in other_raw_names(before, after) {
        let (base, subject) = (SubjectQuery::Arn(session.in_any_session()), SubjectQuery::Arn(session));
        let (old, new) = (before.authenticate(&subject), after.authenticate(&subject));
        if compared_principals.insert(subject.clone()) {
            add(differ.diff(subject, old, new), Some(&base));
        }
    }
    let [before_account_subjects, after_account_subjects] = &account_subjects;
    let has_principal = |access: &AccessView<'s>, account_subjects: &BTreeSet<Subject>, subject: &Subject| {
        access.principals_of(subject).any(|principal| !principal.is_session()) || account_subjects.contains(subject)
    };
    let bound: BTreeSet<&Subject> = before.grants.bound_subjects().chain(after.grants.bound_subjects()).collect();
    let mut compared = BTreeSet::new();
    for subject in bound {
        let query = SubjectQuery::from_subject(subject);
        let authentication = before.authenticate(&query);
        let is_changed = authentication.identities().any(|identity| changed.matches_any(identity));
        if !is_changed || !compared.insert(query.clone()) {
            continue;
        }
        let needs_no_entry = needs_no_entry(&query);
        let diff = differ.diff(query, authentication.clone(), authentication);
        // If a principal maps to the subject, the diff of the principal already contains the gain or loss.
        let is_own_gain = needs_no_entry || !has_principal(after, after_account_subjects, subject);
        let is_own_loss = needs_no_entry || !has_principal(before, before_account_subjects, subject);
        if is_own_gain && !diff.permissions.gained.is_empty() || is_own_loss && !diff.permissions.lost.is_empty() {
            diffs.push(diff);
        }
    }
    diffs.retain(|diff| !diff.is_empty());
    diffs
}

/// Returns sessions that only `{{SessionNameRaw}}` distinguishes from the sessions of the principal indexes, for roles that
/// have this placeholder in one of the states. The index of the other state does not have them.
fn other_raw_names<'s>(before: &AccessView<'s>, after: &AccessView<'s>) -> BTreeSet<IamIdentity> {
    let mut names: BTreeMap<IamIdentity, BTreeSet<String>> = BTreeMap::new();
    let variants = [before, after].into_iter().flat_map(AccessView::principals_and_variants);
    for variant in variants.filter(|principal| principal.variant_of.is_some()) {
        if let SubjectQuery::Arn(identity) = &variant.subject
            && let Some(name) = identity.session_attributes().name
        {
            names.entry(identity.in_any_session()).or_default().insert(name);
        }
    }
    let has_raw_template = |base: &IamIdentity, access: &AccessView<'s>| {
        let authentication = access.authenticate(&SubjectQuery::Arn(base.clone()));
        let mut names =
            authentication.identities().flat_map(|identity| identity.username.iter().chain(&identity.groups));
        names.any(|name| name.as_literal().is_none() && name.as_str().contains(SESSION_NAME_RAW))
    };
    let mut others = BTreeSet::new();
    for (base, names) in &names {
        if names.iter().any(|name| name.contains('-'))
            && [before, after].iter().any(|side| has_raw_template(base, side))
        {
            let sessions = names.iter().filter_map(|name| SessionAttributes::named(name).with_other_raw_name(names));
            others.extend(sessions.filter_map(|session| base.with_session(&session)));
        }
    }
    others
}

/// Returns the difference for one subject.
pub(crate) fn diff_subject<'s>(
    before: &AccessView<'s>,
    after: &AccessView<'s>,
    query: &SubjectQuery,
) -> SubjectDiff<'s> {
    Differ::new(before, after).diff(query.clone(), before.authenticate(query), after.authenticate(query))
}

/// Returns the difference in permissions between one authentication in the first state and another in the second state.
pub(super) fn diff_authentications<'s>(
    before: &AccessView<'s>,
    after: &AccessView<'s>,
    old: &Authentication,
    new: &Authentication,
) -> Rc<PermissionDiff<'s>> {
    Differ::new(before, after).diff_permissions(old, new)
}

/// Returns whether a subject can authenticate without an aws-auth entry, because Kubernetes itself authenticates it.
pub(super) fn needs_no_entry(query: &SubjectQuery) -> bool {
    match query {
        SubjectQuery::ServiceAccount { .. } => true,
        SubjectQuery::Group(name) | SubjectQuery::User(name) => name.starts_with("system:"),
        SubjectQuery::Arn(_) | SubjectQuery::Account(_) => false,
    }
}

/// Compares subjects and caches the result for each pair of bound grants, so that the subjects of one binding share it.
struct Differ<'a, 's> {
    before: &'a AccessView<'s>,
    after: &'a AccessView<'s>,
    cache: BTreeMap<(BoundGrants, BoundGrants), Rc<PermissionDiff<'s>>>,
}

impl<'a, 's> Differ<'a, 's> {
    fn new(before: &'a AccessView<'s>, after: &'a AccessView<'s>) -> Self {
        before.grants.build_index();
        after.grants.build_index();
        Self { before, after, cache: BTreeMap::new() }
    }

    fn diff(&mut self, subject: SubjectQuery, before: Authentication, after: Authentication) -> SubjectDiff<'s> {
        let permissions = self.diff_permissions(&before, &after);
        let old_paths = identity_escalation_paths(&before);
        let mut identity_paths = identity_escalation_paths(&after);
        identity_paths.retain(|path| !old_paths.contains(path));
        SubjectDiff { subject, before, after, permissions, identity_paths }
    }

    fn diff_permissions(&mut self, before: &Authentication, after: &Authentication) -> Rc<PermissionDiff<'s>> {
        let bound =
            (BoundGrants::for_authentication(self.before, before), BoundGrants::for_authentication(self.after, after));
        let diff = self.cache.entry(bound).or_insert_with_key(|(old, new)| {
            let (old, new) = (old.effective_permissions(self.before), new.effective_permissions(self.after));
            let gained = new.difference(&old);
            let escalation_paths = newly_opened_paths(&gained, &new);
            Rc::new(PermissionDiff { lost: old.difference(&new), gained, escalation_paths })
        });
        Rc::clone(diff)
    }
}

/// The subjects of bindings that differ, and of bindings whose role's rules differ.
#[derive(Default)]
struct ChangedSubjects<'s> {
    users: BTreeSet<&'s str>,
    groups: BTreeSet<&'s str>,
    service_accounts: BTreeSet<(&'s str, &'s str)>,
    access_entries: BTreeSet<&'s str>,
}

impl<'s> ChangedSubjects<'s> {
    fn new(before: &AccessView<'s>, after: &AccessView<'s>) -> Self {
        let mut changed = Self::default();
        for (_, pair) in merge_join(before.grants.state.all_bindings(), after.grants.state.all_bindings()) {
            match pair {
                EitherOrBoth::Left(binding) | EitherOrBoth::Right(binding) => changed.add_subjects(&binding.subjects),
                EitherOrBoth::Both(old, new) if old.role_ref != new.role_ref || old.namespaces != new.namespaces => {
                    changed.add_subjects(&old.subjects);
                    changed.add_subjects(&new.subjects);
                }
                EitherOrBoth::Both(old, new) if old.subjects != new.subjects => {
                    let (old, new): (BTreeSet<_>, BTreeSet<_>) =
                        (old.subjects.iter().collect(), new.subjects.iter().collect());
                    changed.add_subjects(old.symmetric_difference(&new).copied());
                }
                EitherOrBoth::Both(..) => {}
            }
        }
        let roles = changed_roles(before, after);
        if !roles.is_empty() {
            let bindings = before.grants.state.all_bindings().chain(after.grants.state.all_bindings());
            for (key, binding) in bindings {
                if binding.role_ref.role_key_parts(key).is_some_and(|role| roles.contains(&role)) {
                    changed.add_subjects(&binding.subjects);
                }
            }
        }
        changed
    }

    fn add_subjects(&mut self, subjects: impl IntoIterator<Item = &'s Subject>) {
        subjects.into_iter().for_each(|subject| self.add_subject(subject));
    }

    fn add_subject(&mut self, subject: &'s Subject) {
        match subject {
            Subject::User(name) => self.users.insert(name),
            Subject::Group(name) => self.groups.insert(name),
            Subject::ServiceAccount { namespace, name } => self.service_accounts.insert((namespace, name)),
            Subject::AccessEntry(principal) => self.access_entries.insert(principal),
        };
    }

    fn matches_any(&self, identity: &Identity) -> bool {
        let username = identity.username.as_ref().and_then(RenderedName::as_literal).unwrap_or_default();
        self.users.contains(username)
            || identity.groups.iter().filter_map(RenderedName::as_literal).any(|name| self.groups.contains(name))
            || Identity::service_account_parts(username).any(|parts| self.service_accounts.contains(&parts))
            || identity.access_entry().is_some_and(|principal| self.access_entries.contains(principal))
    }
}

/// The kind, namespace and name of a role.
type RoleKeyParts<'s> = (ObjectKind, Option<&'s str>, &'s str);

/// Returns the roles whose rules differ, including aggregated roles whose computed rules differ.
fn changed_roles<'s>(before: &AccessView<'s>, after: &AccessView<'s>) -> BTreeSet<RoleKeyParts<'s>> {
    let effective_rules = |access: &AccessView<'s>, key: &ObjectKey| -> Option<Vec<_>> {
        access.grants.role_by_key(key).map(|effective| effective.sourced_rules().map(|sourced| sourced.rule).collect())
    };
    let key_if_changed = |(key, pair): (&'s ObjectKey, EitherOrBoth<&Role, &Role>)| {
        let is_changed = match pair {
            EitherOrBoth::Left(_) | EitherOrBoth::Right(_) => true,
            EitherOrBoth::Both(old, new) if old.aggregation.is_none() && new.aggregation.is_none() => {
                old.rules != new.rules
            }
            EitherOrBoth::Both(..) => effective_rules(before, key) != effective_rules(after, key),
        };
        is_changed.then(|| key.parts())
    };
    merge_join(&before.grants.state.roles, &after.grants.state.roles).filter_map(key_if_changed).collect()
}
