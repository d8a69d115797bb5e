//! The three texts of `kube-system/aws-auth`: what the authenticator has after reading one, and how
//! entries go in and out while every other byte stays. This room knows neither the ConfigMap around
//! the texts nor who owns an entry.

mod accounts;
mod edit;
mod entry;
mod finding;
mod go_json;
mod parse;

pub(crate) use edit::{EditError, EntryEdit, edit_section};
pub(crate) use entry::{Entry, EntryPrincipal, Section};
pub(crate) use finding::{Finding, FindingKind};
pub(crate) use parse::{LocatedEntry, ParsedSection, SectionError, parse_section};

#[cfg(test)]
pub(crate) use entry::{NewEntry, SsoArnMatcher};

#[cfg(test)]
pub(crate) mod tests;
