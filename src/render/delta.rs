//! The section of a plan that says who gains and who loses which access.

use super::style::{Label, Style};
use super::words::{count, visible};
use crate::plan::{AccessChange, Affected, Allowed, Giver};

/// Changes, subjects of one change and lines of one change shown before `--full` is needed.
const SHOWN: [usize; 3] = [100, 20, 40];
/// A change of one line stands beside its subject up to here.
const WIDTH: usize = 140;
/// Givers named of one line.
const GIVERS: usize = 3;

/// The section with its heading.
pub(crate) fn section(changes: &[AccessChange], full: bool, style: Style) -> String {
    let mut out = format!("{}\n", style.paint(Label::Heading, "Access"));
    let [shown, subjects, lines] = if full { [usize::MAX; 3] } else { SHOWN };
    if changes.is_empty() {
        out.push_str("  no access changes\n");
    }
    for change in changes.iter().take(shown) {
        one(change, [subjects, lines], style, &mut out);
    }
    more(changes.len(), shown, "more change of access", "  ", &mut out);
    out.push('\n');
    out
}

/// `1 subject gains access, 2 lose.`
pub(crate) fn totals(changes: &[AccessChange]) -> String {
    let number = |of: fn(&AccessChange) -> bool| -> usize {
        changes.iter().filter(|change| of(change)).map(|change| change.subjects.len()).sum()
    };
    let gain = number(|change| !change.access.gains.is_empty());
    let lose = number(|change| !change.access.loses.is_empty());
    let verb = |number, one, many| if number == 1 { one } else { many };
    format!(
        "{} {} access, {lose} {}.",
        count(gain, "subject"),
        verb(gain, "gains", "gain"),
        verb(lose, "loses", "lose")
    )
}

fn more(all: usize, shown: usize, what: &str, indent: &str, out: &mut String) {
    if let Some(more) = all.checked_sub(shown).filter(|more| *more > 0) {
        out.push_str(&format!("{indent}… and {}, which --full shows\n", count(more, what)));
    }
}

fn one(change: &AccessChange, [subjects, shown]: [usize; 2], style: Style, out: &mut String) {
    let AccessChange { subjects: all, access } = change;
    let (sign, label) = match (access.gains.is_empty(), access.loses.is_empty()) {
        (false, true) => ("+", Label::Added),
        (true, false) => ("-", Label::Removed),
        (false, false) => ("~", Label::Changed),
        (true, true) => ("!", Label::Changed),
    };
    let sign = style.paint(label, sign);
    let gains = access.gains.iter().map(|allowed| line("gains", "by", allowed));
    let lines: Vec<String> = gains.chain(access.loses.iter().map(|allowed| line("loses", "was by", allowed))).collect();
    match (all.as_slice(), lines.as_slice()) {
        ([who], [line]) if subject(who).chars().count() + line.chars().count() + 6 <= WIDTH => {
            out.push_str(&format!("  {sign} {}  {line}\n", subject(who)));
        }
        (all, lines) => {
            for (number, who) in all.iter().take(subjects).enumerate() {
                let sign = if number == 0 { &sign } else { " " };
                out.push_str(&format!("  {sign} {}\n", subject(who)));
            }
            more(all.len(), subjects, "more subject", "    ", out);
            for line in lines.iter().take(shown) {
                out.push_str(&format!("      {line}\n"));
            }
            more(lines.len(), shown, "more line", "      ", out);
        }
    }
    for way in &access.ways {
        let mark = style.paint(Label::Removed, "!");
        out.push_str(&format!("  {mark}   {}: {}\n", way.name, visible(&way.path)));
    }
}

fn subject(who: &Affected) -> String {
    let name = who.name.as_ref().map(|name| format!(" ({})", visible(name))).unwrap_or_default();
    format!("{}{name}", visible(&who.who))
}

fn line(verb: &str, link: &str, allowed: &Allowed) -> String {
    format!("{verb}  {}{}", visible(&allowed.what), by(link, &allowed.by))
}

/// `  by viewers → cluster-viewer`.
fn by(link: &str, givers: &[Giver]) -> String {
    if givers.is_empty() {
        return String::new();
    }
    let named: Vec<String> = givers.iter().take(GIVERS).map(giver).collect();
    let more = givers.len().saturating_sub(GIVERS);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("  {link} {}{more}", named.join(", "))
}

/// `viewers → cluster-viewer`.
pub(crate) fn giver(giver: &Giver) -> String {
    match giver {
        Giver::Group { group } => visible(group),
        Giver::Binding { binding, role } => visible(&format!("{} → {}", binding.path(), role.name())),
    }
}
