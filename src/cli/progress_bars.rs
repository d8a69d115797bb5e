//! Draws progress as bars at the bottom of the terminal.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::PoisonError;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::progress::{BAR_DELAY, SharedWriter};
use super::progress_state::{ProgressLine, ProgressState};

const DRAWS_PER_SECOND: u8 = 10;
const COUNTED: &str = "{prefix} [{bar:20}] {pos}/{len} {wide_msg}";
const UNCOUNTED: &str = "{prefix} {wide_msg}";
/// The width of the lines if the size of the terminal is not known.
const DEFAULT_WIDTH: u16 = 80;

/// The bars of the clusters that are at work. They are removed when it is dropped.
pub(super) struct ProgressBars {
    all: MultiProgress,
    bars: BTreeMap<BarKey, ProgressBar>,
}

/// The clusters come before the bar for all of them. A bar with a count and one without are different bars.
type BarKey = (usize, bool);

impl ProgressBars {
    pub(super) fn new(writer: SharedWriter) -> Self {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Terminal(writer)), DRAWS_PER_SECOND);
        Self { all: MultiProgress::with_draw_target(target), bars: BTreeMap::new() }
    }

    /// Removes the bars while `write` writes to the terminal.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        self.all.suspend(write);
    }

    pub(super) fn draw(&mut self, state: &ProgressState, now: Instant) {
        let lines = state.progress_lines(BAR_DELAY, now);
        let key = |line: &ProgressLine| (line.cluster.unwrap_or(usize::MAX), line.count.is_some());
        let shown: Vec<BarKey> = lines.iter().map(key).collect();
        let all = &self.all;
        self.bars.retain(|key, bar| {
            let is_shown = shown.contains(key);
            if !is_shown {
                bar.finish_and_clear();
                all.remove(bar);
            }
            is_shown
        });
        for line in &lines {
            let key = key(line);
            let after = self.bars.range(..key).next_back().map(|(_, bar)| bar.clone());
            let bar = self.bars.entry(key).or_insert_with(|| {
                let bar = ProgressBar::no_length().with_style(style(line.count.is_some()));
                match after {
                    Some(after) => self.all.insert_after(&after, bar),
                    None => self.all.insert(0, bar),
                }
            });
            update(bar, line);
        }
    }
}

impl Drop for ProgressBars {
    fn drop(&mut self) {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
        let _ = self.all.clear();
    }
}

fn style(has_count: bool) -> ProgressStyle {
    let template = if has_count { COUNTED } else { UNCOUNTED };
    // The templates are valid. The default has no message.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn update(bar: &ProgressBar, line: &ProgressLine) {
    let mut message = line.message.clone();
    if let Some((done, total)) = line.count {
        bar.set_length(u64::try_from(total).unwrap_or(u64::MAX));
        bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        let left = bar.eta().as_secs();
        if left > 0 && done > 0 {
            message = format!("about {left}s left, {message}");
        }
    }
    bar.set_prefix(line.title.clone());
    bar.set_message(message);
    bar.tick();
}

/// A terminal behind a writer. The sequences are those of ECMA-48, which every terminal reads.
struct Terminal(SharedWriter);

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

impl Terminal {
    fn write(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())
    }

    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.write(&format!("\u{1b}[{n}{direction}")) }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        terminal_size::terminal_size_of(io::stderr()).map_or(DEFAULT_WIDTH, |(width, _)| width.0)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.write(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write("\r\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
