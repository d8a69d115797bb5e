//! All that somebody may do, or everybody: those who may do the same stand together.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chain::View;
use super::delta::giver;
use super::style::Label;
use super::words::{count, visible};
use crate::access::{Access, Who, ways_up};
use crate::names::reserved_prefix;
use crate::plan::{Affected, Allowed, Giver, Opened};
use crate::policy::Known;

/// Lines of one set of subjects shown before `--full` is needed.
const SHOWN: usize = 40;

/// What some may do alike, and their ways to more power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reach {
    may: Vec<Allowed>,
    ways: Vec<Opened>,
}

/// Subjects that may do the same.
#[derive(Debug)]
pub(crate) struct Row {
    subjects: Vec<Affected>,
    reach: Reach,
}

/// Whether somebody belongs to the cluster itself.
pub(crate) fn is_of_cluster(who: &Who) -> bool {
    match who {
        Who::User(name) | Who::Group(name) => reserved_prefix(name).is_some(),
        Who::ServiceAccount { namespace, .. } => namespace == "kube-system",
        Who::Arn(_) | Who::Account(_) => false,
    }
}

/// Of whom entries of aws-auth alone have the name, the principals' own rows say all.
pub(crate) fn is_worth_a_line(access: &Access<'_>, who: &Who) -> bool {
    match who {
        Who::User(_) | Who::Group(_) => {
            access.admit(who).identities().any(crate::access::Identity::is_master) || !access.held(who).is_empty()
        }
        Who::Arn(_) | Who::Account(_) | Who::ServiceAccount { .. } => true,
    }
}

/// The rows of some subjects, in their order.
pub(crate) fn of(access: &Access<'_>, whom: Vec<Who>, known: &Known) -> Vec<Row> {
    if whom.len() > 1 {
        access.grants.index();
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut places: BTreeMap<Reach, usize> = BTreeMap::new();
    for who in whom {
        let reach = Reach {
            may: access.reach(&who).iter().map(Allowed::of).collect(),
            ways: ways_up(access, &who).iter().map(Opened::of).collect(),
        };
        let place = *places.entry(reach).or_insert_with_key(|reach| {
            rows.push(Row { subjects: Vec::new(), reach: reach.clone() });
            rows.len() - 1
        });
        if let Some(row) = rows.get_mut(place) {
            let name = known.name_of(&who).map(str::to_owned);
            row.subjects.push(Affected { who: who.to_string(), name });
        }
    }
    rows
}

pub(crate) fn text(rows: &[Row], hidden: usize, explain: bool, full: bool, view: &View<'_>) -> String {
    let mut out = String::new();
    for (number, Row { subjects, reach }) in rows.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for Affected { who, name } in subjects {
            let name = name.as_ref().map(|name| format!(" ({})", visible(name))).unwrap_or_default();
            let line = format!("{}{name}", visible(who));
            out.push_str(&format!("{}\n", view.style.paint(Label::Heading, &line)));
        }
        if reach.may.is_empty() {
            out.push_str("  nothing\n");
        }
        let shown = if full { reach.may.len() } else { SHOWN };
        for allowed in reach.may.iter().take(shown) {
            out.push_str(&line(allowed, explain, view));
        }
        if let Some(more) = reach.may.len().checked_sub(shown).filter(|more| *more > 0) {
            out.push_str(&format!("  … and {}, which --full shows\n", count(more, "more line")));
        }
        for way in &reach.ways {
            out.push_str(&format!("  ! {}: {}\n", way.name, visible(&way.path)));
        }
    }
    if hidden > 0 {
        out.push_str(&format!("\n… and {} of the cluster itself, which --full shows\n", count(hidden, "subject")));
    }
    out
}

fn line(allowed: &Allowed, explain: bool, view: &View<'_>) -> String {
    let Allowed { what, requests: _, by } = allowed;
    let mut out = format!("  {}\n", visible(what));
    for one in by {
        let place = match one {
            Giver::Binding { binding, role } if explain => {
                format!("  binding {}, role {}", view.origin(binding), view.origin(role))
            }
            Giver::Binding { .. } | Giver::Group { .. } => String::new(),
        };
        out.push_str(&format!("    by {}{}\n", giver(one), view.style.paint(Label::Place, &visible(&place))));
    }
    out
}

pub(crate) fn json(label: &str, rows: &[Row], hidden: usize) -> Value {
    let one = |Row { subjects, reach }: &Row| json!({ "subjects": subjects, "may": reach.may, "ways": reach.ways });
    json!({ "cluster": label, "access": rows.iter().map(one).collect::<Vec<_>>(), "hidden": hidden })
}
