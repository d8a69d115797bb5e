//! Diagnostics as text in the style of rustc: the message, the source lines with the span underlined, and the notes.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::style::TextStyle;
use super::text_util::{escape_control, pluralize};
use crate::diagnostic::{Diagnostic, NoteKind, Severity, SourceMap, Span};

/// The number of errors, and of warnings, that are shown. Each one more costs time and is rarely read.
const MAX_SHOWN: usize = 200;

/// Returns the diagnostics in their order, with an empty line after each. Of many errors or warnings, the first ones are
/// shown and the rest are counted.
pub(crate) fn render_diagnostics(diagnostics: &[Diagnostic], sources: &SourceMap, style: TextStyle) -> String {
    let renderer = match style {
        TextStyle::Plain => Renderer::plain(),
        TextStyle::Color => Renderer::styled(),
    };
    let mut out = String::new();
    let (mut errors, mut warnings) = (0, 0);
    for diagnostic in diagnostics {
        let count = match diagnostic.severity {
            Severity::Error => &mut errors,
            Severity::Warning => &mut warnings,
        };
        *count += 1;
        if *count <= MAX_SHOWN {
            out.push_str(&renderer.render(&[diagnostic_group(diagnostic, sources)]));
            out.push_str("\n\n");
        }
    }
    for (count, level, name) in [(errors, Level::ERROR, "more error"), (warnings, Level::WARNING, "more warning")] {
        if let Some(more) = usize::checked_sub(count, MAX_SHOWN).filter(|more| *more > 0) {
            let title = format!("{} not shown", pluralize(more, name));
            out.push_str(&renderer.render(&[Group::with_title(level.primary_title(title))]));
            out.push_str("\n\n");
        }
    }
    out
}

/// A span of a file and its label.
type FileAnnotation<'a> = (Span, &'a str, AnnotationKind);

fn diagnostic_group<'a>(diagnostic: &'a Diagnostic, sources: &'a SourceMap) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut title = level.primary_title(escape_control(&diagnostic.message));
    if let Some(lint) = diagnostic.lint {
        title = title.id(lint.name());
    }
    let mut group = Group::with_title(title);
    if let Some((span, label)) = &diagnostic.primary {
        let mut files: Vec<(usize, Vec<FileAnnotation<'_>>)> =
            vec![(span.file(), vec![(*span, label, AnnotationKind::Primary)])];
        for (span, label) in &diagnostic.secondary {
            let annotation = (*span, label.as_str(), AnnotationKind::Context);
            match files.iter_mut().find(|(file, _)| *file == span.file()) {
                Some((_, annotations)) => annotations.push(annotation),
                None => files.push((span.file(), vec![annotation])),
            }
        }
        for (file, annotations) in files {
            // The renderer reads the whole source, so it gets only the lines from the first span to the last.
            let start = annotations.iter().map(|(span, ..)| span.range().start).min().unwrap_or_default();
            let end = annotations.iter().map(|(span, ..)| span.range().end).max().unwrap_or_default();
            let (excerpt, line) = sources.lines(file, start..end);
            let mut snippet = Snippet::source(sources.text(file).get(excerpt.clone()).unwrap_or_default())
                .path(sources.name(file))
                .line_start(line);
            for (span, label, kind) in annotations {
                let range = span.range().start - excerpt.start..span.range().end - excerpt.start;
                snippet = snippet.annotation(kind.span(range).label(Some(label).filter(|label| !label.is_empty())));
            }
            group = group.element(snippet);
        }
    }
    if let Some(excerpt) = &diagnostic.excerpt {
        let column =
            excerpt.text.char_indices().nth(excerpt.column.saturating_sub(1)).map_or(excerpt.text.len(), |(at, _)| at);
        let end = excerpt.text.len().max(column);
        let snippet = Snippet::source(excerpt.text.as_str())
            .path(excerpt.name.as_str())
            .line_start(excerpt.line)
            .annotation(AnnotationKind::Primary.span(column..end));
        group = group.element(snippet);
    }
    for note in &diagnostic.notes {
        let level = match note.kind {
            NoteKind::Because => Level::NOTE.with_name("because"),
            NoteKind::Note => Level::NOTE,
            NoteKind::Help => Level::HELP,
        };
        group = group.element(level.message(escape_control(&note.text)));
    }
    group
}
