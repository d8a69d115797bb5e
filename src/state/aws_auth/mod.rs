//! The three sections of `kube-system/aws-auth`: parsing one exactly as the authenticator does, and editing its entries
//! without changing any other byte. This module must not depend on the ConfigMap that contains the sections, nor on the
//! ownership of entries.

mod accounts;
mod edit;
mod entry;
mod finding;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod go_json;
mod parse;
#[cfg(any(test, feature = "fuzz"))]
mod preservation;

pub(crate) use edit::{EditError, EntryEdit, edit_section, with_source_lines};
pub(crate) use entry::{Entry, EntryPrincipal, Section};
pub(crate) use finding::{Finding, FindingKind, IgnoredReason};
pub(crate) use parse::{LocatedEntry, ParsedSection, SectionError, parse_section};

#[cfg(test)]
pub(crate) use entry::{NewEntry, SsoArnMatcher};

#[cfg(test)]
pub(crate) mod tests;
