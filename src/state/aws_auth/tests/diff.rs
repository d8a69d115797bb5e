//! A line diff for review. It shows the changed lines with one line of context, and makes whitespace at line ends, tabs
//! and line breaks visible.

/// Returns a diff by lines. `…` replaces unchanged lines, and `- …` the middle of a run of removed lines.
pub(crate) fn diff(old: &str, new: &str) -> String {
    let (old, new) = (visible_lines(old), visible_lines(new));
    let lines = diff_lines(&old, &new);
    let changed = |at: usize| lines.get(at).is_some_and(|(mark, _)| *mark != ' ');
    let mut out = String::new();
    let mut skipped = false;
    let removed = |at: usize| lines.get(at).is_some_and(|(mark, _)| *mark == '-');
    for (at, (mark, line)) in lines.iter().enumerate() {
        if at > 0 && (at - 1..=at + 1).all(removed) {
            if !std::mem::replace(&mut skipped, true) {
                out.push_str("- …\n");
            }
        } else if changed(at) || changed(at + 1) || at.checked_sub(1).is_some_and(changed) {
            out.push_str(format!("{mark} {line}").trim_end());
            out.push('\n');
            skipped = false;
        } else if !std::mem::replace(&mut skipped, true) {
            out.push_str("  …\n");
        }
    }
    out
}

fn diff_lines(old: &[String], new: &[String]) -> Vec<(char, String)> {
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for (i, old_line) in old.iter().enumerate().rev() {
        for (j, new_line) in new.iter().enumerate().rev() {
            common[i][j] =
                if old_line == new_line { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push((' ', old[i].clone()));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(('-', old[i].clone()));
            i += 1;
        } else {
            out.push(('+', new[j].clone()));
            j += 1;
        }
    }
    out
}

fn visible_lines(text: &str) -> Vec<String> {
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let text = text.replace("\r\n", "␍\n");
    let lines = text.split_inclusive(is_break).map(|line| {
        let end = if line.ends_with(is_break) { "" } else { "⟨no line end⟩" };
        let line = line.strip_suffix('\n').unwrap_or(line);
        let body = line.trim_end_matches(' ');
        let mut out = String::new();
        for c in body.chars() {
            match c {
                '\t' => out.push('⇥'),
                '\r' => out.push('␍'),
                '\u{feff}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("⟨{:X}⟩", u32::from(c))),
                c => out.push(c),
            }
        }
        out.extend(std::iter::repeat_n('·', line.len() - body.len()));
        out + end
    });
    lines.collect()
}
