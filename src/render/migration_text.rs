//! The text of a migration to access entries.

use super::plan_text::{PlanTextOptions, plan_title, render_changes};
use super::style::{StyleClass, TextStyle};
use super::terminal_text::TerminalText;
use super::text_util::{escape_control, pluralize};
use crate::access::EntryRef;
use crate::plan::{ADMIN_POLICY, Migration, Plan, StayingEntry};
use crate::state::auth_mode::ClusterAuthMode;

/// Entries without effect that are shown without `--full`.
const MAX_WITHOUT_EFFECT: usize = 10;

/// The parts of the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MigrationText<'a> {
    pub(crate) migration: &'a Migration,
    pub(crate) is_finish: bool,
    /// Whether the plan is that of a policy, which says itself what it changes.
    pub(crate) is_from_policy: bool,
    pub(crate) policy_diff: Option<&'a [String]>,
}

/// Returns the whole text: the change of the mode, the plan, and what becomes of each entry of aws-auth.
pub(crate) fn render_migration(text: &MigrationText<'_>, options: &PlanTextOptions<'_>) -> TerminalText {
    let MigrationText { migration, .. } = text;
    let mut out = render_mode(migration, options.style);
    out.append(&render_plan(&migration.plan, options));
    if !text.is_from_policy {
        out.append(&render_result(text));
        out.append(&render_staying(&migration.staying));
        out.append(&render_without_effect(&migration.without_effect, options.full));
    }
    if let Some(lines) = text.policy_diff.filter(|lines| !lines.is_empty()) {
        out.blank_line();
        out.line(&options.style.paint(StyleClass::Heading, "Write this into the policy"));
        for line in lines {
            let line = escape_control(line);
            out.line(&match line.chars().next() {
                Some('+') => format!("  {}", options.style.paint(StyleClass::Added, &line)),
                Some('-') => format!("  {}", options.style.paint(StyleClass::Removed, &line)),
                Some('@') => format!("  {}", options.style.paint(StyleClass::Location, &line)),
                _ => format!("  {line}"),
            });
        }
    }
    out
}

/// Returns the plan, which can be without a policy.
fn render_plan(plan: &Plan, options: &PlanTextOptions<'_>) -> TerminalText {
    let title = if plan.has_policy() { plan_title(plan, options) } else { escape_control(options.cluster) };
    render_changes(plan, &title, "no entry changes.", options)
}

fn render_mode(migration: &Migration, style: TextStyle) -> TerminalText {
    let Migration { mode, mode_change, .. } = migration;
    let heading = |text: &str| style.paint(StyleClass::Heading, text);
    let Some(to) = mode_change else {
        let mut out = TerminalText::from_line(&heading(&format!("Authentication mode {}", mode.as_str())));
        if *mode == ClusterAuthMode::Api {
            out.line("  The cluster does not read aws-auth, so nothing is left to migrate.");
        }
        out.blank_line();
        return out;
    };
    let title = format!("Authentication mode {} -> {}", mode.as_str(), to.as_str());
    let mut out = TerminalText::from_line(&heading(&title));
    let lines: &[&str] = if *to == ClusterAuthMode::Api {
        &["  The last step. EKS cannot change it back. After it, the cluster does not read aws-auth any more."]
    } else {
        &[
            "  The first step. EKS cannot change it back. aws-auth still counts for each principal without an access entry.",
            "  EKS itself then makes access entries for the creator of the cluster, for its managed node groups and for its",
            "  Fargate profiles. The steps below are planned again after the change, without those.",
        ]
    };
    for line in lines {
        out.line(line);
    }
    out.blank_line();
    out
}

/// Says whose access stays, and what is not known.
fn render_result(text: &MigrationText<'_>) -> TerminalText {
    let MigrationText { migration: Migration { plan, mode, moved, moved_before, staying, .. }, is_finish, .. } = *text;
    let mut out = TerminalText::default();
    if *mode == ClusterAuthMode::Api {
        return out;
    }
    let changed =
        plan.access_changes.as_ref().map_or(0, |changes| changes.iter().map(|change| change.subjects.len()).sum());
    out.blank_line();
    if !moved.is_empty() {
        let equal = moved.len().saturating_sub(changed);
        let verb = if equal == 1 { "keeps" } else { "keep" };
        out.line(&format!("{} {verb} exactly the access of today.", pluralize(equal, "principal")));
    }
    if *moved_before > 0 && !is_finish {
        let have = if *moved_before == 1 { "has" } else { "have" };
        let principals = pluralize(*moved_before, "principal");
        out.line(&format!("{principals} of aws-auth {have} an access entry already."));
    }
    if moved.is_empty() && staying.is_empty() {
        out.line(if is_finish {
            "aws-auth has no entry that counts."
        } else {
            "Every principal of aws-auth has an access entry. To remove the entries of aws-auth: rolecall migrate --finish"
        });
    }
    let admins: Vec<&str> = moved.iter().filter(|moved| moved.is_admin).map(|moved| moved.principal.as_str()).collect();
    if !admins.is_empty() {
        out.blank_line();
        out.line(&format!("{ADMIN_POLICY} instead of system:masters, for {}:", pluralize(admins.len(), "principal")));
        for admin in admins {
            out.line(&format!("  {}", escape_control(admin)));
        }
        out.line("  It allows every request, as system:masters does. What differs: the principal is not in the group");
        out.line("  system:masters any more, so what names the group does not match it (bindings, priority levels,");
        out.line("  admission webhooks), and a review with `kubectl auth can-i --as` does not see the policy.");
    }
    let uncertain = moved.iter().filter(|moved| moved.is_path_unknown).count();
    if uncertain > 0 && !is_finish {
        out.blank_line();
        let roles = pluralize(uncertain, "role");
        out.line(&format!(
            "aws-auth does not have the path of roles. EKS refuses an entry if the role has one ({roles} to check):"
        ));
        out.line("  aws iam get-role --role-name NAME --query Role.Arn --output text");
        out.line("  Pass each ARN that has a path with --arn, or write it in the policy.");
    }
    out
}

fn render_staying(staying: &[StayingEntry]) -> TerminalText {
    let mut out = TerminalText::default();
    if staying.is_empty() {
        return out;
    }
    let stay = if staying.len() == 1 { "entry stays" } else { "entries stay" };
    out.blank_line();
    out.line(&format!("{} {stay} in aws-auth:", staying.len()));
    for StayingEntry { entry, reason } in staying {
        out.line(&format!("  {}", escape_control(&entry.to_string())));
        out.line(&format!("    because: {}", escape_control(&reason.to_string())));
        out.line(&format!("    help: {}", escape_control(&reason.help())));
    }
    out
}

fn render_without_effect(entries: &[(EntryRef, String)], full: bool) -> TerminalText {
    let mut out = TerminalText::default();
    if entries.is_empty() {
        return out;
    }
    out.blank_line();
    let have = if entries.len() == 1 { "entry of aws-auth has" } else { "entries of aws-auth have" };
    out.line(&format!("{} {have} no effect today, so there is nothing to move:", entries.len()));
    let shown = if full { entries.len() } else { MAX_WITHOUT_EFFECT };
    for (entry, reason) in entries.iter().take(shown) {
        out.line(&format!("  {}: {}", escape_control(&entry.to_string()), escape_control(reason)));
    }
    if let Some(more) = entries.len().checked_sub(shown).filter(|more| *more > 0) {
        out.line(&format!("  and {more} more (use --full to show them)"));
    }
    out
}
