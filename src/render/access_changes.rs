//! The section of a plan that says who gains and who loses which access.

use super::plan_text::PlanTextOptions;
use super::style::StyleClass;
use super::text_util::{columns, escape_control, pluralize};
use crate::plan::{AccessChange, AffectedSubject, AllowedRequests, GrantedBy};

/// Changes, subjects of one change and lines of one change shown before `--full` is needed.
const MAX_SHOWN: [usize; 3] = [100, 20, 40];
/// A change of one line stands beside its subject up to here.
const MAX_INLINE_WIDTH: usize = 140;
/// Givers named of one line.
const MAX_SOURCES: usize = 3;

/// The section with its heading.
pub(crate) fn render_access_changes(changes: &[AccessChange], view: &PlanTextOptions<'_>) -> String {
    let PlanTextOptions { full, style, .. } = *view;
    let mut out = format!("{}\n", style.paint(StyleClass::Heading, "Access"));
    let [shown, subjects, lines] = if full { [usize::MAX; 3] } else { MAX_SHOWN };
    if changes.is_empty() {
        out.push_str("  no access changes\n");
    }
    for change in changes.iter().take(shown) {
        push_access_change(change, [subjects, lines], view, &mut out);
    }
    push_more(changes.len(), shown, "more change of access", "  ", &mut out);
    out.push('\n');
    out
}

/// `1 subject gains access, 2 lose.`
pub(crate) fn access_totals(changes: &[AccessChange]) -> String {
    let number = |of: fn(&AccessChange) -> bool| -> usize {
        changes.iter().filter(|change| of(change)).map(|change| change.subjects.len()).sum()
    };
    let gain = number(|change| !change.diff.gains.is_empty());
    let lose = number(|change| !change.diff.losses.is_empty());
    let verb = |number, one, many| if number == 1 { one } else { many };
    format!(
        "{} {} access, {lose} {}.",
        pluralize(gain, "subject"),
        verb(gain, "gains", "gain"),
        verb(lose, "loses", "lose")
    )
}

fn push_more(all: usize, shown: usize, what: &str, indent: &str, out: &mut String) {
    if let Some(more) = all.checked_sub(shown).filter(|more| *more > 0) {
        out.push_str(&format!("{indent}… and {}, which --full shows\n", pluralize(more, what)));
    }
}

fn push_access_change(
    change: &AccessChange,
    [subjects, shown]: [usize; 2],
    view: &PlanTextOptions<'_>,
    out: &mut String,
) {
    let style = view.style;
    let AccessChange { subjects: all, diff: access } = change;
    let (sign, label) = match (access.gains.is_empty(), access.losses.is_empty()) {
        (false, true) => ("+", StyleClass::Added),
        (true, false) => ("-", StyleClass::Removed),
        (false, false) => ("~", StyleClass::Changed),
        (true, true) => ("!", StyleClass::Changed),
    };
    let sign = style.paint(label, sign);
    let gains = access.gains.iter().map(|allowed| grant_line("gains", "by", allowed));
    let lines: Vec<String> =
        gains.chain(access.losses.iter().map(|allowed| grant_line("loses", "was by", allowed))).collect();
    match (all.as_slice(), lines.as_slice()) {
        ([who], [line])
            if columns(&subject_text(who)) + columns(line) + 6
                <= view.width.map_or(MAX_INLINE_WIDTH, |width| MAX_INLINE_WIDTH.min(width)) =>
        {
            out.push_str(&format!("  {sign} {}  {line}\n", subject_text(who)));
        }
        (all, lines) => {
            for (number, who) in all.iter().take(subjects).enumerate() {
                let sign = if number == 0 { &sign } else { " " };
                out.push_str(&format!("  {sign} {}\n", subject_text(who)));
            }
            push_more(all.len(), subjects, "more subject", "    ", out);
            for line in lines.iter().take(shown) {
                out.push_str(&format!("      {line}\n"));
            }
            push_more(lines.len(), shown, "more line", "      ", out);
        }
    }
    for way in &access.escalations {
        let mark = style.paint(StyleClass::Removed, "!");
        out.push_str(&format!("  {mark}   {}: {}\n", way.name, escape_control(&way.path)));
    }
}

fn subject_text(who: &AffectedSubject) -> String {
    let name = who.name.as_ref().map(|name| format!(" ({})", escape_control(name))).unwrap_or_default();
    format!("{}{name}", escape_control(&who.subject))
}

fn grant_line(verb: &str, link: &str, allowed: &AllowedRequests) -> String {
    format!("{verb}  {}{}", escape_control(&allowed.summary), sources_suffix(link, &allowed.granted_by))
}

/// `  by viewers → cluster-viewer`.
fn sources_suffix(link: &str, givers: &[GrantedBy]) -> String {
    if givers.is_empty() {
        return String::new();
    }
    let named: Vec<String> = givers.iter().take(MAX_SOURCES).map(granted_by_text).collect();
    let more = givers.len().saturating_sub(MAX_SOURCES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("  {link} {}{more}", named.join(", "))
}

/// `viewers → cluster-viewer`.
pub(crate) fn granted_by_text(giver: &GrantedBy) -> String {
    match giver {
        GrantedBy::Group { group } => escape_control(group),
        GrantedBy::Binding { binding, role } => escape_control(&format!("{} → {}", binding.path(), role.name())),
    }
}
