//! `rolecall test`: the invariants of a policy as a test run.

use super::check_args::{TestArgs, TestFormat};
use super::env::Env;
use super::exit::Exit;
use super::policy_files::read_policy;
use super::refusals::print_refusals;
use super::target::target_resolver;
use super::{print_error, print_json};
use crate::ops::{CommandError, PlanDepth, PlanSet, PlanSettings, plan_clusters};
use crate::render::junit::{render_failure_junit, render_test_junit};
use crate::render::test_text::render_test_run;
use crate::report::{DiagnosticJson, TestDocument, TestedStateJson};

pub(crate) fn run(args: &TestArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let result = test_and_print(args, env);
    if let (Err(error), TestFormat::Junit) = (&result, args.format) {
        let errors = DiagnosticJson::all(&error.diagnostics, &error.sources);
        env.print_data(&render_failure_junit("test", &errors)?);
    }
    result
}

fn test_and_print(args: &TestArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let files = read_policy(args.target.policy.as_deref(), env)?;
    let context = env.parallel_context(&args.parallel);
    let (state, depth) = if args.current {
        (TestedStateJson::Current, PlanDepth::ChangesOnly)
    } else {
        (TestedStateJson::Planned, PlanDepth::InvariantsAfterChanges)
    };
    let settings = PlanSettings { depth, allow: &[], aws_auth_diff: false, unmanaged_admins: false };
    let plans = plan_clusters(files, &target_resolver(&args.target.connection, &context), &settings, &context)?;
    print_test_run(&plans, state, args.format, env)?;
    let is_violated = print_refusals(&plans.cluster_plans, &[], &plans.loaded.policy.sources, env);
    if let Some(error) = plans.error {
        print_error(&error, args.format.of_errors(), env);
        return Ok(Exit::Failed);
    }
    Ok(if is_violated { Exit::Refused } else { Exit::Success })
}

/// Prints the results. A JSON document is printed only if all clusters could be tested.
fn print_test_run(
    plans: &PlanSet,
    state: TestedStateJson,
    format: TestFormat,
    env: &mut Env,
) -> Result<(), CommandError> {
    let document = TestDocument::new(state, &plans.document()?);
    match format {
        TestFormat::Text => env.print_text(&render_test_run(&document, env.stdout_style())),
        TestFormat::Json if plans.error.is_none() => print_json(&document, env)?,
        TestFormat::Json => {}
        TestFormat::Junit => {
            let error = plans.error.as_ref();
            let errors = error.map(|error| DiagnosticJson::all(&error.diagnostics, &error.sources)).unwrap_or_default();
            env.print_data(&render_test_junit(&document.clusters, &errors)?);
        }
    }
    Ok(())
}
