//! The principals of aws-auth, each once, and an index from the subjects of bindings to the principals that they match.
//!
//! The index is built once for a state.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::iam_identity::IamIdentity;
use super::identity::{Authentication, Identity, SubjectQuery};
use super::identity_mapping::IdentityMapping;
use super::session_attributes::SessionAttributes;
use super::variants::{BoundNames, bound_account_members, distinguished_sessions};
use crate::state::rbac::Subject;

/// The number of variants that a text lists.
const MAX_LISTED_VARIANTS: usize = 5;

/// A principal of aws-auth and its identity to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MappedPrincipal {
    pub(crate) subject: SubjectQuery,
    pub(crate) authentication: Authentication,
    /// The principal that this one is a variant of: the role of a session, or the account of one of its principals.
    pub(crate) variant_of: Option<SubjectQuery>,
}

impl MappedPrincipal {
    /// Returns whether this is not a whole role or user, but some of its sessions.
    pub(crate) fn is_session(&self) -> bool {
        matches!(self.variant_of, Some(SubjectQuery::Arn(_)))
    }
}

/// The key of a principal. For an IAM identity it is the string that the authenticator compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PrincipalKey {
    IamIdentity(String, SessionAttributes),
    Account(String),
    /// A principal that only mapAccounts maps, by its ARN as STS reports it.
    AccountMember(String),
}

/// The principals in the order of their keys: every IAM identity that an entry matches, each followed by its sessions that
/// bindings distinguish, then every account that mapAccounts maps, then the principals of these accounts that bindings
/// name.
#[derive(Debug, Default)]
pub(super) struct PrincipalIndex {
    keys: Vec<PrincipalKey>,
    all: Vec<Rc<MappedPrincipal>>,
    /// For each principal the position of the principal that it is a variant of.
    variant_of: Vec<Option<usize>>,
    /// Those that are no variants.
    plain: Vec<Rc<MappedPrincipal>>,
    by_subject: OnceCell<BTreeMap<Subject, Vec<usize>>>,
}

impl PrincipalIndex {
    /// `bound_names` are needed only if entries have placeholders or whole accounts are mapped.
    pub(super) fn new<'n>(mapping: &IdentityMapping, bound_names: impl Fn() -> &'n BoundNames) -> Self {
        let mut index = Self::default();
        for (key, iam_identity) in mapping.iam_identities() {
            let subject = SubjectQuery::Arn(iam_identity.clone());
            let authentication = Authentication::for_query(&subject, mapping);
            let sessions = if authentication.has_session_names() {
                distinguished_sessions(&iam_identity, &authentication, bound_names())
            } else {
                std::collections::BTreeSet::new()
            };
            let key = |identity: &IamIdentity| PrincipalKey::IamIdentity(key.to_owned(), identity.session_attributes());
            let position = index.push(key(&iam_identity), subject, authentication, None);
            for session in sessions {
                let subject = SubjectQuery::Arn(session.clone());
                let authentication = Authentication::for_query(&subject, mapping);
                // The authenticator can reject the session, for example if it is not one of an EC2 instance.
                if authentication.identities().next().is_some() {
                    index.push(key(&session), subject, authentication, Some(position));
                }
            }
        }
        let mut accounts = BTreeMap::new();
        for id in mapping.account_ids() {
            let subject = SubjectQuery::Account(id.to_owned());
            let authentication = Authentication::for_query(&subject, mapping);
            let position = index.push(PrincipalKey::Account(id.to_owned()), subject, authentication, None);
            accounts.insert(id, position);
        }
        if !accounts.is_empty() {
            for member in bound_account_members(mapping, bound_names(), |id| accounts.contains_key(id)) {
                let account = accounts.get(member.account()).copied();
                let key = PrincipalKey::AccountMember(member.canonical().to_owned());
                let subject = SubjectQuery::Arn(member);
                let authentication = Authentication::for_query(&subject, mapping);
                index.push(key, subject, authentication, account);
            }
        }
        index
    }

    fn push(
        &mut self,
        key: PrincipalKey,
        subject: SubjectQuery,
        authentication: Authentication,
        variant_of: Option<usize>,
    ) -> usize {
        let position = self.all.len();
        let base = variant_of.and_then(|base| self.all.get(base)).map(|base| base.subject.clone());
        let principal = Rc::new(MappedPrincipal { subject, authentication, variant_of: base });
        if variant_of.is_none() {
            self.plain.push(Rc::clone(&principal));
        }
        self.keys.push(key);
        self.all.push(principal);
        self.variant_of.push(variant_of);
        position
    }

    /// Returns the principals, and their sessions and members that bindings distinguish.
    pub(super) fn all(&self) -> &[Rc<MappedPrincipal>] {
        &self.all
    }

    /// Returns the principals without variants.
    pub(super) fn plain(&self) -> &[Rc<MappedPrincipal>] {
        &self.plain
    }

    /// Returns the position of the principal that the one at `position` is a variant of.
    pub(super) fn variant_of(&self, position: usize) -> Option<usize> {
        self.variant_of.get(position).copied().flatten()
    }

    pub(super) fn by_key(&self) -> impl Iterator<Item = (&PrincipalKey, &MappedPrincipal)> {
        self.keys.iter().zip(self.all.iter().map(Rc::as_ref))
    }

    /// Returns the positions of the principals that a subject matches, in ascending order.
    pub(super) fn positions_of(&self, subject: &Subject) -> &[usize] {
        let by_subject = self.by_subject.get_or_init(|| {
            let mut by_subject: BTreeMap<Subject, Vec<usize>> = BTreeMap::new();
            for (position, principal) in self.all.iter().enumerate() {
                for subject in principal.authentication.identities().flat_map(Identity::subjects) {
                    let positions = by_subject.entry(subject).or_default();
                    // Several identities of an ambiguous principal can have the same subject.
                    if positions.last() != Some(&position) {
                        positions.push(position);
                    }
                }
            }
            by_subject
        });
        by_subject.get(subject).map_or(&[], Vec::as_slice)
    }
}

/// Describes variants of one subject, such as ``sessions named `alice`, sessions named `bob` `` or the ARNs of principals.
pub(crate) fn describe_variants<'a>(variants: impl IntoIterator<Item = &'a MappedPrincipal>) -> String {
    let describe = |variant: &MappedPrincipal| match (&variant.variant_of, &variant.subject) {
        (Some(SubjectQuery::Arn(_)), SubjectQuery::Arn(session)) => session.session_attributes().to_string(),
        (_, subject) => subject.to_string(),
    };
    let mut texts: Vec<String> = variants.into_iter().map(describe).collect();
    let more = texts.len().saturating_sub(MAX_LISTED_VARIANTS);
    texts.truncate(MAX_LISTED_VARIANTS);
    let listed = texts.join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}
