//! `rolecall report`: the access to clusters as a page, as JSON or as CSV.

use super::env::Env;
use super::exit::Exit;
use super::print_json;
use super::question::{finish, observe_targets};
use super::report_args::{ReportArgs, ReportFormat};
use crate::ops::{CommandError, report_access};
use crate::render::access_csv::render_access_csv;
use crate::render::report_html::render_report_html;

pub(crate) fn run(args: &ReportArgs, env: &mut Env) -> Result<Exit, CommandError> {
    let (observed, loaded) =
        observe_targets(args.target.policy.as_ref(), &args.target.connection, &args.parallel, args.after, env)?;
    let context = env.parallel_context(&args.parallel);
    let document = report_access(&observed, loaded.as_ref(), args.after, args.full, &context)?;
    match args.format {
        ReportFormat::Html => env.print_data(render_report_html(&document)?.as_str()),
        ReportFormat::Json => print_json(&document, env)?,
        ReportFormat::Csv => env.print_data(render_access_csv(&document)?.as_str()),
    }
    Ok(finish(Exit::Success, Exit::Failed, observed.error, env))
}
