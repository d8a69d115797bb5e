//! `rolecall plan`: the changes that `apply` would make, and their effect on access.

use super::args::PlanArgs;
use super::document_args::PlanFormat;
use super::env::Env;
use super::exit::Exit;
use super::guards::parse_allow_flags;
use super::plan_output::{apply_command, print_plan_set, report_failure};
use super::plan_signature::SigningKey;
use super::policy_files::read_policy;
use super::refusals::{print_diagnostics, print_refusals};
use super::target::target_resolver;
use super::{print_error, write_output};
use crate::diagnostic::{Diagnostic, Severity};
use crate::files::{OutputKind, is_stdout};
use crate::ops::{CommandError, PlanDepth, PlanSettings, missing_permissions, plan_clusters};
use crate::render::plan_text;
use crate::report::to_text;

pub(crate) fn run(args: &PlanArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let result = plan_and_print(args, env);
    if let Err(error) = &result {
        report_failure("plan", error, &args.output, env)?;
    }
    result
}

fn plan_and_print(args: &PlanArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let allow = parse_allow_flags(&args.allow)?;
    if args.sign_key.is_some() && args.out.as_deref().is_some_and(is_stdout) {
        let error = Diagnostic::error("a plan on stdout cannot be signed, because its signature is a file beside it");
        return Err(CommandError::from_diagnostic(error.with_help("pass --out FILE")));
    }
    let signing_key = args.sign_key.as_deref().map(|path| SigningKey::read(path, env)).transpose()?;
    let files = read_policy(args.target.policy.as_deref(), env)?;
    let context = env.parallel_context(&args.parallel);
    let settings = PlanSettings {
        depth: PlanDepth::ChangesAndAccess,
        allow: &allow,
        aws_auth_diff: args.aws_auth_diff || args.full,
        unmanaged_admins: false,
    };
    let resolve = target_resolver(&args.target.connection, &context);
    let mut plans = plan_clusters(files, &resolve, &settings, &context)?;
    // They are printed after the plan, and are among the warnings of the JSON document.
    let mut missing = Vec::new();
    for cluster_plan in &mut plans.cluster_plans {
        let warning = missing_permissions::to_diagnostic(cluster_plan, Severity::Warning);
        missing.extend(warning.clone());
        cluster_plan.plan.warnings.extend(warning);
    }
    let has_changes = plans.cluster_plans.iter().any(|cluster_plan| !cluster_plan.plan.is_empty());
    let out_is_stdout = args.out.as_deref().is_some_and(is_stdout);
    if !out_is_stdout {
        print_plan_set(("plan", &plans), &args.output, args.full, plan_text::render_plan, env)?;
    }
    print_diagnostics(&missing, &plans.loaded.policy.sources, env);
    let refused = print_refusals(&plans.cluster_plans, &allow, &plans.loaded.policy.sources, env);
    // If a cluster could not be planned, the plans of the others are printed but not saved.
    if let Some(error) = plans.error {
        print_error(&error, args.output.format.of_errors(), env);
        return Ok(Exit::Failed);
    }
    if refused {
        if let Some(path) = &args.out {
            env.eprint(&format!("The plan was refused and not saved to {}.\n", path.display()));
        }
        return Ok(Exit::Refused);
    }
    if let Some(path) = &args.out {
        let text = to_text(&plans.document()?)?;
        write_output(path, &text, OutputKind::Plan, env)?;
        if let Some(key) = &signing_key {
            let signature = key.sign(path, &text, env)?;
            env.note(&format!("Signature saved to {}", signature.display()));
        }
        // The file does not include the accepted risks: `apply` needs the flags again.
        let allow_flags: String = args.allow.iter().map(|text| format!(" --allow {text}")).collect();
        if !out_is_stdout {
            env.note(&format!(
                "Plan saved to {0} (apply exactly this plan with: rolecall apply --plan {0}{allow_flags})\n",
                path.display()
            ));
        }
    }
    if args.out.is_none()
        && args.output.format == PlanFormat::Text
        && let Some(command) = apply_command(&plans.cluster_plans, &args.target)
    {
        env.print(&format!("To apply exactly this plan: {command}"));
    }
    // The process ends here, and freeing a large policy string by string takes longer than printing the plan.
    std::mem::forget((plans.loaded, plans.cluster_plans));
    Ok(if has_changes && args.detailed_exitcode { Exit::ChangesFound } else { Exit::Success })
}
