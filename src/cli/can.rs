//! `rolecall can`: may somebody do something.

use serde_json::json;

use super::args::{Can, Format};
use super::asked::{caveats, clusters, request, say, warnings};
use super::exit::Exit;
use super::failure::Failure;
use super::print_json;
use super::world::World;
use crate::access::Verdict;
use crate::diagnostic::Sources;
use crate::render::access::{self, View};
use crate::render::json::{self, FORMAT_VERSION};

pub(crate) async fn run(args: &Can, world: &mut World) -> Result<Exit, Failure> {
    let all = clusters(&args.question, world).await?;
    let (request, doubt) = request(&args.verb, &args.resource, &args.on);
    let mut answers = Vec::new();
    let mut yes = true;
    for asked in &all {
        let who = asked.who(&args.subject)?;
        let access = asked.access();
        let answer = access.can(&who, &request);
        let mut found = warnings(&access, Some(&who), &request);
        found.extend(doubt.clone());
        found.extend(caveats(asked, &args.subject, &who, &answer.admission, answer.verdict));
        say(&found, world);
        yes &= answer.verdict == Verdict::Yes;
        let view = View { label: &asked.label, state: &asked.state, known: &asked.known, style: world.out_style() };
        match args.question.format {
            Format::Json => {
                let mut value = access::can_json(&who, &request, &answer, &view);
                json::insert(&mut value, "warnings", json::diagnostics(&found, &Sources::default()));
                answers.push(value);
            }
            Format::Text => {
                let label = if all.len() > 1 { format!("{}: ", asked.label) } else { String::new() };
                world.print(&format!("{label}{}", access::can(&who, &answer, args.explain, &view)));
            }
        }
    }
    if args.question.format == Format::Json {
        print_json(&json!({ "format-version": FORMAT_VERSION, "clusters": answers }), world);
    }
    Ok(if yes { Exit::Done } else { Exit::Failed })
}
