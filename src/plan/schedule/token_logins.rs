//! The identities of tokens: those that aws-auth maps now, and those that an API server can still have cached.

use std::collections::BTreeSet;

use super::identity_classes::{ClassId, Login, MappingStores, logins};
use super::internal;
use super::verifier::Verifier;
use crate::access::{Direction, IdentityMapping};
use crate::plan::entries::aws_auth_edit::EntryVariant;
use crate::state::config_map::AwsAuth;
use crate::state::object::ObjectError;

/// The logins of some classes, as aws-auth maps them.
pub(super) type ClassLogins = Vec<(ClassId, Vec<Login>)>;

/// The former logins of the classes that a write of aws-auth or a wait has changed.
pub(super) type FormerLogins = Vec<(ClassId, TokenLogins)>;

/// The identities with which the tokens of a principal authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenLogins {
    /// The identities that aws-auth maps now.
    pub(super) current: Vec<Login>,
    /// The identities that aws-auth mapped earlier, and that an API server can still have cached for a token.
    pub(super) cached: Vec<Login>,
}

impl TokenLogins {
    pub(super) fn all(&self) -> impl Iterator<Item = &Login> {
        self.current.iter().chain(&self.cached)
    }

    /// Sets the current identities. With `caches_tokens`, the former ones stay cached. A denied authentication is not
    /// cached: the authenticator answers it with an error.
    pub(super) fn change_to(&mut self, logins: Vec<Login>, caches_tokens: bool) {
        let former = std::mem::replace(&mut self.current, logins);
        if caches_tokens {
            self.cached.extend(former.into_iter().filter(|login| *login != Login::default()));
            self.cached.retain(|login| !self.current.contains(login));
            self.cached.sort_unstable();
            self.cached.dedup();
        }
    }
}

impl Verifier<'_> {
    pub(super) fn index_logins(&mut self) {
        self.classes_by_subject.clear();
        let mut seen = BTreeSet::new();
        for (number, class) in self.classes.iter().enumerate() {
            if seen.insert(class.group_key()) {
                for subject in class.tokens.all().flat_map(|login| &login.subjects.subjects) {
                    self.classes_by_subject.entry(*subject).or_default().insert(ClassId(number));
                }
            }
        }
    }

    /// Returns the logins of all principals with these variants of the entries.
    pub(super) fn logins_with(&self, variants: &[EntryVariant]) -> Result<Option<ClassLogins>, ObjectError> {
        let all_are = |expected: &EntryVariant| variants.iter().all(|variant| variant == expected);
        let mapped = self.all_classes(&self.mapped_classes)?.into_iter();
        if all_are(&EntryVariant::Final) && self.entries.all_are(|slot| slot.planned) {
            return Ok(Some(mapped.map(|(id, class)| (id, class.planned_logins.clone())).collect()));
        }
        if all_are(&EntryVariant::Live) && self.entries.all_are(|slot| slot.live) {
            return Ok(Some(mapped.map(|(id, class)| (id, class.live_logins.clone())).collect()));
        }
        let edit = self.edit.ok_or_else(|| internal("aws-auth is written, but not changed"))?;
        let Some(aws_auth) = edit.aws_auth_with(variants) else {
            return Ok(None);
        };
        let mapping = self.mapping_with(Some(aws_auth));
        Ok(Some(mapped.map(|(id, class)| (id, logins(&self.engine, &mapping.authenticate(&class.who)))).collect()))
    }

    /// Returns the mapping of principals after the writes so far, with the content of aws-auth.
    fn mapping_with(&self, aws_auth: Option<AwsAuth>) -> IdentityMapping {
        let mut mapping = IdentityMapping::from_state(&MappingStores { aws_auth, ..self.stores.clone() }.into_state());
        for slot in self.entries.iter() {
            mapping.set_access_entry(slot.key.name(), slot.current);
        }
        mapping
    }

    /// Returns the mapping of principals after the writes so far.
    pub(super) fn build_mapping(&self) -> Result<IdentityMapping, ObjectError> {
        let aws_auth = match self.edit {
            Some(edit) if self.variants.iter().any(|variant| *variant != EntryVariant::Live) => {
                let aws_auth = edit.aws_auth_with(&self.variants);
                Some(aws_auth.ok_or_else(|| internal("a scheduled aws-auth cannot be written"))?)
            }
            Some(_) | None => self.stores.aws_auth.clone(),
        };
        Ok(self.mapping_with(aws_auth))
    }

    /// Returns the logins of some classes after the writes so far.
    pub(super) fn logins_of(&mut self, classes: &[ClassId]) -> Result<ClassLogins, ObjectError> {
        if self.mapping.is_none() {
            self.mapping = Some(self.build_mapping()?);
        }
        let mapping = self.mapping.as_ref().ok_or_else(|| internal("there is no mapping"))?;
        let classes = self.all_classes(classes)?.into_iter();
        Ok(classes.map(|(id, class)| (id, logins(&self.engine, &mapping.authenticate(&class.who)))).collect())
    }

    /// Returns whether changed logins have more or fewer subjects than before.
    pub(super) fn direction_of(&self, old: &FormerLogins) -> Result<Direction, ObjectError> {
        let mut direction = Direction::Neutral;
        for (class, before) in old {
            direction =
                direction.and(match (before.current.as_slice(), self.class(*class)?.tokens.current.as_slice()) {
                    ([before], [now]) if before.subjects.is_in_system_masters == now.subjects.is_in_system_masters => {
                        Direction::between(&before.subjects.subjects, &now.subjects.subjects)
                    }
                    _ => Direction::Mixed,
                });
        }
        Ok(direction)
    }

    /// Sets the logins of principals. Returns the previous logins of those that changed.
    pub(super) fn set_logins(&mut self, logins: ClassLogins) -> Result<FormerLogins, ObjectError> {
        let caches_tokens = self.caches_tokens;
        let mut old = Vec::new();
        for (id, logins) in logins {
            let tokens = &mut self.class_mut(id)?.tokens;
            if tokens.current != logins {
                old.push((id, tokens.clone()));
                tokens.change_to(logins, caches_tokens);
            }
        }
        if !old.is_empty() {
            self.index_logins();
        }
        Ok(old)
    }

    pub(super) fn restore_logins(&mut self, logins: FormerLogins) -> Result<(), ObjectError> {
        for (id, logins) in logins {
            self.class_mut(id)?.tokens = logins;
        }
        self.index_logins();
        Ok(())
    }

    /// Forgets all cached tokens, as an API server does when their time is over. Returns the former logins.
    pub(super) fn expire_cached_tokens(&mut self) -> FormerLogins {
        let mut old = Vec::new();
        for (number, class) in self.classes.iter_mut().enumerate() {
            if !class.tokens.cached.is_empty() {
                old.push((ClassId(number), class.tokens.clone()));
                class.tokens.cached.clear();
            }
        }
        self.index_logins();
        old
    }

    /// Returns whether a token that has the identity of the live state is within the bounds now.
    pub(super) fn live_logins_are_in_bounds(&self) -> Result<bool, ObjectError> {
        for (_, class) in self.all_classes(&self.mapped_classes)? {
            let cached = class.live_logins.iter().filter(|login| **login != Login::default());
            if class.live_logins != class.planned_logins && !self.bounds_of(class)?.contains_all(cached, &self.engine) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
