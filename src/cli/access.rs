//! `rolecall access`: all that somebody may do, or everybody.

use serde_json::json;

use super::args::{Access, Format};
use super::asked::{caveats, clusters, oddities, say, warning};
use super::exit::Exit;
use super::failure::Failure;
use super::print_json;
use super::world::World;
use crate::access::{Verdict, Who};
use crate::diagnostic::Sources;
use crate::render::access::View;
use crate::render::json::{self, FORMAT_VERSION};
use crate::render::matrix;

pub(crate) async fn run(args: &Access, world: &mut World) -> Result<Exit, Failure> {
    let all = clusters(&args.question, world).await?;
    let mut answers = Vec::new();
    for asked in &all {
        let access = asked.access();
        let mut found = oddities(&access);
        let everybody: Vec<Who> = match &args.subject {
            Some(text) => {
                let who = asked.who(text)?;
                found.extend(access.doubt(&who).map(|doubt| warning(&doubt)));
                found.extend(caveats(asked, text, &who, &access.admit(&who), Verdict::Yes));
                vec![who]
            }
            None => {
                found.extend(access.waiting(None));
                access.everybody().into_iter().filter(|who| matrix::is_worth_a_line(&access, who)).collect()
            }
        };
        say(&found, world);
        let (shown, hidden): (Vec<Who>, Vec<Who>) =
            everybody.into_iter().partition(|who| args.full || args.subject.is_some() || !matrix::is_of_cluster(who));
        let rows = matrix::of(&access, shown, &asked.known);
        match args.question.format {
            Format::Json => {
                let mut value = matrix::json(&asked.label, &rows, hidden.len());
                json::insert(&mut value, "warnings", json::diagnostics(&found, &Sources::default()));
                answers.push(value);
            }
            Format::Text => {
                let view =
                    View { label: &asked.label, state: &asked.state, known: &asked.known, style: world.out_style() };
                let label = if all.len() > 1 { format!("{}\n", asked.label) } else { String::new() };
                let text = matrix::text(&rows, hidden.len(), args.explain, args.full, &view);
                world.print(&format!("{label}{text}"));
            }
        }
    }
    if args.question.format == Format::Json {
        print_json(&json!({ "format-version": FORMAT_VERSION, "clusters": answers }), world);
    }
    Ok(Exit::Done)
}
