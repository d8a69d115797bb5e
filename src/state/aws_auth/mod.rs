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
pub(crate) use entry::{Entry, Principal, Section};
pub(crate) use finding::{Finding, Kind};
pub(crate) use read::{Found, Reading, SectionError, read};

#[cfg(test)]
pub(crate) use entry::{New, Sso};

#[cfg(test)]
pub(crate) mod tests;
