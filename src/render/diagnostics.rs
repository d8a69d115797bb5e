//! Diagnostics as text in the style of rustc: the message, the source lines with the span underlined, and the notes.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::style::TextStyle;
use super::terminal_text::TerminalText;
use super::text_util::escape_control;
use crate::diagnostic::{Diagnostic, NoteKind, Severity, SourceMap, Span};

/// Returns the diagnostics in their order, with an empty line after each.
pub(crate) fn render_diagnostics(diagnostics: &[Diagnostic], sources: &SourceMap, style: TextStyle) -> TerminalText {
    let renderer = match style {
        TextStyle::Plain => Renderer::plain(),
        TextStyle::Color => Renderer::styled(),
    };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[diagnostic_group(diagnostic, sources)]));
        out.push_str("\n\n");
    }
    // The library replaces the control characters of source lines, and the rest of the unsafe characters is escaped here.
    TerminalText::from_rendered_lines(&out)
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
            let mut snippet =
                Snippet::source(sources.text(file)).path(escape_control(sources.name(file))).line_start(1);
            for (span, label, kind) in annotations {
                snippet = snippet.annotation(
                    kind.span(span.range()).label(Some(escape_control(label)).filter(|label| !label.is_empty())),
                );
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
