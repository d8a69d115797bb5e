//! The three texts of `kube-system/aws-auth`: what the authenticator has after reading one, and how
//! entries go in and out while every other byte stays. This room knows neither the ConfigMap around
//! the texts nor who owns an entry.

mod accounts;
mod edit;
mod entry;
mod finding;
mod go_json;
mod read;

pub(crate) use edit::{Edit, EditError, edit};
pub(crate) use entry::{Entry, New, Principal, Section, Sso};
pub(crate) use finding::{Drop, Finding, Kind};
pub(crate) use read::{Found, Reading, SectionError, read};

#[cfg(test)]
mod tests;
