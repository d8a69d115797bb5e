//! Diagnostics as text in the style of rustc: the message, the source lines with the span underlined, and the notes.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::style::TextStyle;
use super::terminal_text::TerminalText;
use super::text_util::{escape_control, pluralize};
use crate::diagnostic::{Diagnostic, NoteKind, Severity, SourceMap, Span};

/// The number of errors, and of warnings, that are shown. Each one more costs time and is rarely read.
const MAX_SHOWN: usize = 200;

/// Returns the diagnostics in their order, with an empty line after each. Of many errors or warnings, the first ones are
/// shown and the rest are counted.
pub(crate) fn render_diagnostics(diagnostics: &[Diagnostic], sources: &SourceMap, style: TextStyle) -> TerminalText {
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
    // The library replaces the control characters of source lines, and the rest of the unsafe characters is escaped here.
    TerminalText::from_rendered_lines(&out)
}

/// The maximum length of source lines that are given to the renderer, in bytes. It reads a line several times.
const MAX_EXCERPT: usize = 4096;
/// The bytes before and after the spans that remain of a longer excerpt.
const CONTEXT: usize = 200;

/// Returns the lines, or the part of long lines around the spans.
fn cut(text: &str, lines: Range<usize>, spans: Range<usize>) -> Range<usize> {
    if lines.len() <= MAX_EXCERPT {
        return lines;
    }
    let start = text.floor_char_boundary(spans.start.saturating_sub(CONTEXT)).max(lines.start);
    let end = spans.end.min(start + MAX_EXCERPT) + CONTEXT;
    start..text.ceil_char_boundary(end).min(lines.end)
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
            let (lines, line) = sources.lines(file, start..end);
            let excerpt = cut(sources.text(file), lines.clone(), start..end);
            let path = escape_control(sources.name(file));
            let mut snippet =
                Snippet::source(sources.text(file).get(excerpt.clone()).unwrap_or_default()).line_start(line);
            if excerpt == lines {
                snippet = snippet.path(path);
            } else {
                // The renderer would count the column in the text that is left.
                let first = annotations
                    .iter()
                    .find(|(_, _, kind)| matches!(kind, AnnotationKind::Primary))
                    .or(annotations.first());
                let location = first.map(|(span, ..)| sources.location(*span));
                let (line, column) = location.map_or((line, 1), |location| (location.line, location.column));
                group = group.element(Origin::path(path).line(line).char_column(column));
            }
            for (span, label, kind) in annotations {
                let in_excerpt = |at: usize| at.clamp(excerpt.start, excerpt.end) - excerpt.start;
                let range = in_excerpt(span.range().start)..in_excerpt(span.range().end);
                let label = Some(escape_control(label)).filter(|label| !label.is_empty());
                snippet = snippet.annotation(kind.span(range).label(label));
            }
            group = group.element(snippet);
        }
    }
    if let Some(excerpt) = &diagnostic.excerpt {
        let column =
            excerpt.text.char_indices().nth(excerpt.column.saturating_sub(1)).map_or(excerpt.text.len(), |(at, _)| at);
        let end = excerpt.text.len().max(column);
        let snippet = Snippet::source(excerpt.text.as_str())
            .path(escape_control(&excerpt.name))
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
