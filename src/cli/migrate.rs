//! `rolecall migrate`: the plans that move a cluster from aws-auth to access entries.

use std::cell::Cell;
use std::path::Path;

use similar::TextDiff;

use super::apply::{ApplyAttempt, ApplyOptions, Approval, ApprovedCommand, approve_and_apply, print_report};
use super::args::TargetArgs;
use super::env::Env;
use super::exit::Exit;
use super::guards::parse_allow_flags;
use super::migrate_args::{MigrateArgs, MigrationFormat};
use super::plan_output::{plan_text_options, target_words};
use super::policy_files::{find_policy, print_policy_warnings, read_policy};
use super::refusals::{print_access_windows, print_diagnostics, print_refusals};
use super::target::{ensure_snapshots_writable, resolve_targets};
use super::{print_json, write_output};
use crate::diagnostic::{Diagnostic, InternalError, SourceMap};
use crate::files::{OutputKind, is_stdout};
use crate::guard::AllowFlag;
use crate::names::Arn;
use crate::ops::{
    ClusterMigration, CommandError, LoadedPolicy, MigrateSettings, TargetCluster, change_auth_mode,
    plan_cluster_migration, plan_document,
};
use crate::plan::ADMIN_POLICY;
use crate::policy::{load_policy, migrated_policy};
use crate::render::migration_markdown::render_migration_markdown;
use crate::render::migration_text::{MigrationText, render_migration};
use crate::render::plan_facts::shell_word;
use crate::render::plan_markdown::{DEFAULT_MAX_CHARS, render_plan_markdown};
use crate::report::MigrationDocument;
use crate::state::auth_mode::ClusterAuthMode;

pub(crate) async fn run(args: &MigrateArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let approval = || Approval {
        command: ApprovedCommand::Migrate,
        is_given: args.auto_approve || args.flags.dry_run,
        digests: &args.approved,
        saved_plan: None,
    };
    if args.apply {
        approval().ensure_obtainable(env)?;
        if !args.flags.dry_run {
            let snapshots: Vec<&str> = args.target.connection.snapshots.iter().map(String::as_str).collect();
            ensure_snapshots_writable(&snapshots)?;
        }
    }
    let allow = parse_allow_flags(&args.flags.allow)?;
    let arns = parse_arns(&args.arns)?;
    let policy = MigratedFiles::read(args, env)?;
    let target = only_target(policy.loaded.as_ref(), &args.target, env)?;
    let policy_diff = policy.migrate(args, target.name.as_deref(), env)?;
    let settings = MigrateSettings {
        policy: policy.loaded.as_ref(),
        from_policy: args.from_policy,
        finish: args.finish,
        arns: &arns,
        allow: &allow,
    };
    let context = env.ops_context();
    let migration = plan_cluster_migration(&target, &settings, &context).await?;
    let empty = SourceMap::default();
    let sources = policy.loaded.as_ref().map_or(&empty, |loaded| &loaded.policy.sources);
    print_diagnostics(&migration.cluster_plan.plan.warnings, sources, env);
    if !args.out_policy.as_deref().is_some_and(is_stdout) {
        print_migration(&migration, args, policy_diff.as_deref(), sources, env)?;
    }
    if !args.apply {
        let refused = print_refusals(std::slice::from_ref(&migration.cluster_plan), &allow, sources, env);
        if refused {
            return Ok(Exit::Refused);
        }
        if args.format == MigrationFormat::Text
            && let Some(command) = apply_command(&migration, args)
        {
            env.print("");
            env.print(&format!("To make these changes: {command}"));
        }
        return Ok(Exit::Success);
    }
    let options = ApplyOptions {
        approval: approval(),
        allow_flags: &allow,
        flags: &args.flags,
        format: args.format.of_errors(),
        plans_again: false,
        parallel: 1,
        policy_folder: policy.loaded.as_ref().map(|loaded| loaded.base_dir.clone()),
        earlier_writes: Cell::new(0),
    };
    let allow_after: Vec<AllowFlag> = allow.iter().filter(|flag| **flag != AllowFlag::AuthMode).cloned().collect();
    let run = MigrationRun { target: &target, settings: &settings, options, allow_after: &allow_after, args, sources };
    Box::pin(run.apply(migration, env)).await
}

/// What an apply of a migration needs.
struct MigrationRun<'a> {
    target: &'a TargetCluster,
    settings: &'a MigrateSettings<'a>,
    options: ApplyOptions<'a>,
    /// The flags for what is written after the change of the mode.
    allow_after: &'a [AllowFlag],
    args: &'a MigrateArgs,
    sources: &'a SourceMap,
}

impl MigrationRun<'_> {
    /// Asks once, then makes the writes and the change of the mode in their order.
    async fn apply(mut self, migration: ClusterMigration, env: &mut Env) -> Result<Exit, CommandError> {
        match migration.migration.mode_change.clone() {
            None => self.write(&migration, env).await,
            Some(_) if self.args.flags.dry_run => {
                if migration.migration.mode != ClusterAuthMode::ConfigMap {
                    return self.write(&migration, env).await;
                }
                let refused = print_refusals(
                    std::slice::from_ref(&migration.cluster_plan),
                    self.options.allow_flags,
                    self.sources,
                    env,
                );
                env.note(
                    "note: EKS checks access entries only after the change of the mode, so no write was checked\n",
                );
                Ok(if refused { Exit::Refused } else { Exit::Success })
            }
            Some(mode @ ClusterAuthMode::Api) => {
                let is_empty = migration.cluster_plan.plan.is_empty();
                if is_empty && let Some(exit) = self.approve_mode_change(&migration, env)? {
                    return Ok(exit);
                }
                let mut last = None;
                if !is_empty {
                    let exit = self.write(&migration, env).await?;
                    if exit != Exit::Success {
                        return Ok(exit);
                    }
                    // Another client can have added an entry to aws-auth meanwhile, and the change cannot be undone.
                    let rest = plan_cluster_migration(self.target, self.settings, &env.ops_context()).await?;
                    if !rest.cluster_plan.plan.is_empty() || rest.migration.mode_change.as_ref() != Some(&mode) {
                        let error = Diagnostic::error("the authentication mode was not changed to API").with_because(
                            "aws-auth has changed since the plan was made, or does not have all changes yet",
                        );
                        return Err(CommandError::from_diagnostic(
                            error.with_help("run `rolecall migrate --finish` again"),
                        ));
                    }
                    // The connection to a snapshot is for one write.
                    last = Some(rest);
                }
                self.change_mode(last.as_ref().unwrap_or(&migration), &mode, env).await?;
                Ok(Exit::Success)
            }
            Some(mode) => {
                if let Some(exit) = self.approve_mode_change(&migration, env)? {
                    return Ok(exit);
                }
                self.change_mode(&migration, &mode, env).await?;
                self.write_rest(&migration, env).await
            }
        }
    }

    /// Plans again after the change of the mode. What is left of the approved plan is made without another question.
    async fn write_rest(&mut self, approved: &ClusterMigration, env: &mut Env) -> Result<Exit, CommandError> {
        let rest = plan_cluster_migration(self.target, self.settings, &env.ops_context()).await?;
        if rest.cluster_plan.plan.is_empty() {
            env.note("note: nothing is left to write: EKS has made all access entries at the change of the mode\n");
            return Ok(Exit::Success);
        }
        self.options.allow_flags = self.allow_after;
        let is_rest = rest.cluster_plan.plan.is_remainder_of(&approved.cluster_plan.plan);
        if is_rest {
            self.options.approval.is_given = true;
        } else {
            env.note("note: the plan is another one after the change of the mode\n");
            print_migration(&rest, self.args, None, self.sources, env)?;
        }
        // The digest that was approved is that of the plan before the change of the mode.
        if is_rest {
            self.options.approval.digests = &[];
        }
        self.write(&rest, env).await
    }

    /// Makes the writes of the plan.
    async fn write(&self, migration: &ClusterMigration, env: &mut Env) -> Result<Exit, CommandError> {
        let cluster_plans = std::slice::from_ref(&migration.cluster_plan);
        match Box::pin(approve_and_apply(cluster_plans, self.sources, &self.options, env)).await? {
            ApplyAttempt::Finished(exit) => Ok(exit),
            ApplyAttempt::LostRace(report) => Ok(print_report(report, self.sources, &self.options, env)),
        }
    }

    /// Asks whether to make the plan with its change of the mode. Returns how the command ends if it is not made.
    fn approve_mode_change(&self, migration: &ClusterMigration, env: &mut Env) -> Result<Option<Exit>, CommandError> {
        let cluster_plan = &migration.cluster_plan;
        let cluster_plans = std::slice::from_ref(cluster_plan);
        let is_refused = print_refusals(cluster_plans, self.options.allow_flags, self.sources, env);
        let has_windows = !self.args.flags.allow_window && print_access_windows(cluster_plans, self.sources, env);
        if is_refused || has_windows {
            env.eprint(&format!("Refused. {}\n", self.options.no_changes()));
            return Ok(Some(Exit::Refused));
        }
        if self.options.approval.confirm(&[cluster_plan], env)? {
            return Ok(None);
        }
        env.eprint("Migration cancelled. No changes were made.\n");
        Ok(Some(Exit::Failed))
    }

    async fn change_mode(
        &self,
        migration: &ClusterMigration,
        mode: &ClusterAuthMode,
        env: &mut Env,
    ) -> Result<(), CommandError> {
        change_auth_mode(&migration.cluster_plan, mode).await?;
        let text = format!("The authentication mode of {} is {}.", migration.cluster_plan.label, mode.as_str());
        match self.args.format {
            MigrationFormat::Text => env.print(&text),
            MigrationFormat::Json | MigrationFormat::Markdown => env.note(&text),
        }
        Ok(())
    }
}

fn parse_arns(texts: &[String]) -> Result<Vec<Arn>, CommandError> {
    let parse = |text: &String| {
        Arn::parse(text).map_err(|error| {
            let message = format!("invalid value `{text}` for `--arn`: {error}");
            CommandError::from_diagnostic(Diagnostic::error(message).with_help(error.help()))
        })
    };
    texts.iter().map(parse).collect()
}

/// Returns the cluster to migrate.
///
/// # Errors
/// If the policy has several: clusters move one by one.
fn only_target(
    loaded: Option<&LoadedPolicy>,
    target: &TargetArgs,
    env: &mut Env,
) -> Result<TargetCluster, CommandError> {
    let clusters = loaded.map(|loaded| (&loaded.policy.clusters, loaded.base_dir.as_path()));
    let mut targets = resolve_targets(clusters, &target.connection, &env.ops_context())?;
    let names: Vec<String> = targets.iter().filter_map(|target| target.name.clone()).collect();
    match (targets.pop(), targets.is_empty()) {
        (Some(target), true) => Ok(target),
        (None, _) => Err(InternalError::new("the policy selects no cluster").into()),
        (Some(_), false) => {
            let error = Diagnostic::error("migrate is for one cluster at a time, but the policy has several")
                .with_because(format!("the clusters of the policy are {}", names.join(", ")));
            Err(CommandError::from_diagnostic(error.with_help("pass --cluster NAME")))
        }
    }
}

/// The files of the policy, and the parsed policy. Empty if there is none.
struct MigratedFiles {
    files: Vec<(String, String)>,
    loaded: Option<LoadedPolicy>,
}

impl MigratedFiles {
    fn read(args: &MigrateArgs, env: &mut Env) -> Result<Self, CommandError> {
        let named = args.target.policy.as_deref();
        if named.is_none() && find_policy(env).is_none() {
            let flag =
                if args.from_policy { Some("--from-policy") } else { args.out_policy.as_ref().map(|_| "--out-policy") };
            return match flag {
                None => Ok(Self { files: Vec::new(), loaded: None }),
                Some(flag) => {
                    let error = Diagnostic::error(format!("{flag} needs a policy, and none was found"));
                    Err(CommandError::from_diagnostic(error.with_help("name it: rolecall migrate POLICY")))
                }
            };
        }
        let policy_files = read_policy(named, env)?;
        let files = policy_files.files.clone();
        let loaded = policy_files.parse()?;
        print_policy_warnings(&loaded, env);
        Ok(Self { files, loaded: Some(loaded) })
    }

    /// Returns the change of the policy as the lines of a unified diff, and writes the changed policy if it is asked for.
    fn migrate(
        &self,
        args: &MigrateArgs,
        cluster: Option<&str>,
        env: &mut Env,
    ) -> Result<Option<Vec<String>>, CommandError> {
        let Some(loaded) = self.loaded.as_ref().filter(|_| !args.from_policy) else {
            return Ok(None);
        };
        let changed = migrated_policy(&self.files, &loaded.policy, cluster, ADMIN_POLICY).map_err(|file| {
            InternalError::new(format!("the policy {file} is valid, but its text cannot be changed"))
        })?;
        let pairs: Vec<_> = self.files.iter().zip(&changed).filter(|(old, new)| old != new).collect();
        let mut lines = Vec::new();
        for ((name, old), (_, new)) in &pairs {
            let diff = TextDiff::from_lines(old.as_str(), new.as_str());
            lines.extend(diff.unified_diff().header(name, name).to_string().lines().map(str::to_owned));
        }
        if let Err((sources, errors)) = load_policy(changed.clone()) {
            let errors: Vec<Diagnostic> = errors
                .into_iter()
                .filter(Diagnostic::is_error)
                .map(|error| Diagnostic { severity: crate::diagnostic::Severity::Warning, ..error })
                .map(|error| error.with_note("this is in the policy with the changes that are shown below"))
                .collect();
            print_diagnostics(&errors, &sources, env);
        }
        if let Some(path) = &args.out_policy {
            self.write_policy(path, &pairs.iter().map(|(_, (_, new))| new.as_str()).collect::<Vec<_>>(), env)?;
        }
        Ok(Some(lines))
    }

    fn write_policy(&self, path: &Path, changed: &[&str], env: &mut Env) -> Result<(), CommandError> {
        let text = match (changed, self.files.as_slice()) {
            ([text], _) => *text,
            ([], [(_, text)]) => text,
            _ => {
                let error =
                    Diagnostic::error("--out-policy writes one file, but the policy has changes in several or in none");
                return Err(CommandError::from_diagnostic(
                    error.with_help("leave out --out-policy, and make the changes that the diff shows"),
                ));
            }
        };
        write_output(path, text, OutputKind::Policy, env)
    }
}

/// Prints the migration in the format of the command line.
fn print_migration(
    migration: &ClusterMigration,
    args: &MigrateArgs,
    policy_diff: Option<&[String]>,
    sources: &SourceMap,
    env: &mut Env,
) -> Result<(), CommandError> {
    let ClusterMigration { cluster_plan, migration } = migration;
    match args.format {
        MigrationFormat::Text => {
            let text =
                MigrationText { migration, is_finish: args.finish, is_from_policy: args.from_policy, policy_diff };
            let rendered = render_migration(&text, &plan_text_options(cluster_plan, args.flags.full, env));
            env.print_text(&rendered);
        }
        MigrationFormat::Json => {
            let plans = plan_document(std::slice::from_ref(cluster_plan), sources)?;
            let document = MigrationDocument::new(migration, policy_diff.map(<[String]>::to_vec), plans);
            let document = document.ok_or_else(|| InternalError::new("a migration has no plan"))?;
            print_json(&document, env)?;
        }
        MigrationFormat::Markdown => {
            let plans = plan_document(std::slice::from_ref(cluster_plan), sources)?;
            env.print_data(render_migration_markdown(migration, policy_diff).as_str());
            env.print_data(render_plan_markdown(&plans, &[], DEFAULT_MAX_CHARS).as_str());
        }
    }
    Ok(())
}

/// Returns the command that makes the changes. `None` if there is nothing to make.
fn apply_command(migration: &ClusterMigration, args: &MigrateArgs) -> Option<String> {
    let ClusterMigration { cluster_plan, migration } = migration;
    if cluster_plan.plan.is_empty() && migration.mode_change.is_none() {
        return None;
    }
    let mut words = vec!["rolecall migrate".to_owned()];
    words.extend(target_words(&args.target));
    words.extend(args.target.connection.snapshots.iter().map(|file| format!("--snapshot {}", shell_word(file))));
    words.extend(args.finish.then(|| "--finish".to_owned()));
    words.extend(args.from_policy.then(|| "--from-policy".to_owned()));
    words.extend(args.arns.iter().map(|arn| format!("--arn {arn}")));
    let allowed = cluster_plan.guard_report.allowed.iter().filter_map(|risk| risk.allow.as_ref());
    words.extend(allowed.map(|flag: &AllowFlag| format!("--allow {flag}")));
    words.push("--apply".to_owned());
    Some(words.join(" "))
}
