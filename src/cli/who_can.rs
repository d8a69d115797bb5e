//! `rolecall who-can`: who may do something, and who has a way to more power.

use serde_json::json;

use super::args::{Format, WhoCan};
use super::asked::{Asked, clusters, oddities, request, say, warnings};
use super::exit::Exit;
use super::failure::Failure;
use super::print_json;
use super::world::World;
use crate::access::all_ways_up;
use crate::diagnostic::{Diagnostic, Sources};
use crate::render::access::{self, View};
use crate::render::json::{self, FORMAT_VERSION};

pub(crate) async fn run(args: &WhoCan, world: &mut World) -> Result<Exit, Failure> {
    if args.resource.is_none() && args.verb != "escalate" {
        let error = Diagnostic::error(format!("`who-can {}` needs a resource", args.verb));
        return Err(Failure::of(error.hint(format!("such as `rolecall who-can {} secrets`", args.verb))));
    }
    let all = clusters(&args.question, world).await?;
    let mut answers = Vec::new();
    for asked in &all {
        let value = one(args, asked, all.len() > 1, world);
        answers.extend(value);
    }
    if args.question.format == Format::Json {
        print_json(&json!({ "format-version": FORMAT_VERSION, "clusters": answers }), world);
    }
    Ok(Exit::Done)
}

fn one(args: &WhoCan, asked: &Asked, several: bool, world: &mut World) -> Option<serde_json::Value> {
    let access = asked.access();
    let view = View { label: &asked.label, state: &asked.state, known: &asked.known, style: world.out_style() };
    let (mut found, text, mut value) = match &args.resource {
        None => {
            let found = oddities(&access);
            let ways = all_ways_up(&access);
            (found, access::ways(&ways, &view), access::ways_json(&ways, &view))
        }
        Some(resource) => {
            let (request, doubt) = request(&args.verb, resource, &args.on);
            let mut found = warnings(&access, None, &request);
            found.extend(doubt);
            let answer = access.who_can(&request);
            let text = access::who_can(&request, &answer, args.explain, &view);
            (found, text, access::who_can_json(&request, &answer, &view))
        }
    };
    found.extend(access.waiting(None));
    say(&found, world);
    match args.question.format {
        Format::Json => {
            json::insert(&mut value, "warnings", json::diagnostics(&found, &Sources::default()));
            Some(value)
        }
        Format::Text => {
            let label = if several { format!("{}\n", asked.label) } else { String::new() };
            world.print(&format!("{label}{text}"));
            None
        }
    }
}
