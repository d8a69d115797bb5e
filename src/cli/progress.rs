//! Shows the progress of a use case on stderr: bars on a terminal, lines in a log. Nothing is shown of work that is done
//! within a second.
//!
//! Everything that is written to stderr passes through here, so that a line never breaks a bar, and nothing is written
//! while a credential plugin prompts.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::event_text::render_event;
use super::progress_bars::ProgressBars;
use super::progress_state::ProgressState;
use crate::cluster::connection_log::ConnectionEvent;
use crate::ops::{EventKind, OpsEvent};
use crate::render::style::TextStyle;
use crate::render::terminal_text::TerminalText;

/// How often the bars are drawn.
const TICK: Duration = Duration::from_millis(100);
/// Work that takes longer is shown on a terminal.
pub(super) const BAR_DELAY: Duration = Duration::from_secs(1);
/// Work that takes longer is reported in a log, and then after each interval.
const LINE_DELAY: Duration = Duration::from_secs(5);
const LINE_INTERVAL: Duration = Duration::from_secs(30);

pub(super) type SharedWriter = Arc<Mutex<Box<dyn Write + Send>>>;

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ProgressMode {
    #[default]
    Off,
    /// Lines, for a log.
    Lines,
    /// Bars, for a terminal.
    Bars,
}

/// What is shown of the events.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProgressOptions {
    pub(super) mode: ProgressMode,
    pub(super) style: TextStyle,
    /// No notes and warnings.
    pub(super) is_quiet: bool,
    /// Each request is reported.
    pub(super) is_verbose: bool,
}

/// Stderr, and the progress that is shown there. Clones share them.
#[derive(Clone)]
pub(super) struct ProgressDisplay {
    writer: SharedWriter,
    display: Arc<Mutex<Display>>,
}

#[derive(Default)]
struct Display {
    options: ProgressOptions,
    state: ProgressState,
    bars: Option<ProgressBars>,
    /// When the next lines are written.
    next_lines: Option<Instant>,
    /// What waits until a credential plugin does not prompt any more.
    held: Vec<TerminalText>,
    has_thread: bool,
    is_finished: bool,
}

impl ProgressDisplay {
    pub(super) fn new(stderr: Box<dyn Write + Send>) -> Self {
        Self { writer: Arc::new(Mutex::new(stderr)), display: Arc::default() }
    }

    pub(super) fn set_options(&self, options: ProgressOptions) {
        self.lock().options = options;
    }

    fn lock(&self) -> MutexGuard<'_, Display> {
        self.display.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes text to stderr, above the bars.
    pub(super) fn write(&self, text: &TerminalText) {
        self.write_locked(&mut self.lock(), text);
    }

    fn write_locked(&self, display: &mut Display, text: &TerminalText) {
        if display.state.is_prompting() {
            display.held.push(text.clone());
            return;
        }
        let output = text.to_output(display.options.style);
        let write = || {
            // If stderr is closed, the error cannot be reported anywhere.
            let _ = self.writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(output.as_bytes());
        };
        match &display.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Shows an event.
    pub(super) fn receive(&self, event: &OpsEvent<'_>) {
        let now = Instant::now();
        let mut display = self.lock();
        let is_prompt_end = matches!(event.kind, EventKind::Connection(ConnectionEvent::PromptEnded));
        display.state.update(event, now);
        if display.state.is_prompting() {
            display.bars = None;
        } else if is_prompt_end {
            for text in std::mem::take(&mut display.held) {
                self.write_locked(&mut display, &text);
            }
        }
        let ProgressOptions { mode, style, is_quiet, is_verbose } = display.options;
        let is_request = matches!(event.kind, EventKind::Connection(_));
        if !is_quiet && (!is_request || is_verbose) {
            let has_several = display.state.has_several_clusters();
            if let Some(text) = render_event(event, has_several, style) {
                self.write_locked(&mut display, &text);
            }
        }
        if mode != ProgressMode::Off && !display.has_thread && !display.is_finished {
            display.has_thread = self.start_thread();
        }
    }

    /// Removes the bars at the end of the command.
    pub(super) fn finish(&self) {
        let mut display = self.lock();
        display.is_finished = true;
        display.bars = None;
    }

    /// Removes the bars before the process ends after a signal, unless stderr is blocked.
    pub(super) fn try_finish(&self) {
        if let Ok(mut display) = self.display.try_lock() {
            display.is_finished = true;
            display.bars = None;
        }
    }

    /// Starts the thread that draws the bars until the command ends. Without a thread, no progress is shown.
    fn start_thread(&self) -> bool {
        let shared = self.clone();
        let draw = move || {
            loop {
                std::thread::sleep(TICK);
                let mut display = shared.lock();
                if display.is_finished {
                    return;
                }
                shared.tick(&mut display, Instant::now());
            }
        };
        std::thread::Builder::new().name("progress".to_owned()).spawn(draw).is_ok()
    }

    fn tick(&self, display: &mut Display, now: Instant) {
        if display.state.is_prompting() {
            return;
        }
        match display.options.mode {
            ProgressMode::Off => {}
            ProgressMode::Bars if display.state.is_shown_after(BAR_DELAY, now) => {
                let bars = display.bars.get_or_insert_with(|| ProgressBars::new(self.writer.clone()));
                bars.draw(&display.state, now);
            }
            ProgressMode::Bars => display.bars = None,
            ProgressMode::Lines if display.state.is_shown_after(LINE_DELAY, now) => {
                if display.next_lines.is_none_or(|next| now >= next) {
                    display.next_lines = Some(now + LINE_INTERVAL);
                    for line in display.state.lines(LINE_DELAY, now) {
                        self.write_locked(display, &TerminalText::from_line(&line));
                    }
                }
            }
            ProgressMode::Lines => display.next_lines = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;
    use crate::cluster::{ClusterError, ServerOrigin};
    use crate::diagnostic::is_unsafe_char;
    use crate::ops::{ClusterTag, WorkPhase};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn display(mode: ProgressMode) -> (ProgressDisplay, Captured) {
        let captured = Captured::default();
        let display = ProgressDisplay::new(Box::new(captured.clone()));
        display.set_options(ProgressOptions { mode, ..ProgressOptions::default() });
        // The test draws by itself.
        display.lock().has_thread = true;
        (display, captured)
    }

    fn tag(position: usize, name: &str) -> ClusterTag {
        ClusterTag { position, name: Some(name.to_owned()), label: format!("{name} (context c)") }
    }

    fn send(display: &ProgressDisplay, cluster: Option<&ClusterTag>, kind: EventKind<'_>) {
        display.receive(&OpsEvent { cluster, kind });
    }

    fn wait(id: u64, description: &str) -> ConnectionEvent<'_> {
        let limit = Duration::from_mins(3);
        ConnectionEvent::WaitStarted { id, description, limit, expected: Duration::ZERO }
    }

    fn tick_after(display: &ProgressDisplay, delay: Duration) {
        display.tick(&mut display.lock(), Instant::now() + delay);
    }

    #[test]
    fn log_has_a_line_only_for_work_that_takes_long() {
        let (display, captured) = display(ProgressMode::Lines);
        let (prod, test) = (tag(0, "prod"), tag(1, "test"));
        send(&display, None, EventKind::ClustersStarted { phase: WorkPhase::Observe, total: 3 });
        for cluster in [&prod, &test] {
            send(&display, Some(cluster), EventKind::ObservationStarted);
        }
        let page = ConnectionEvent::PageListed { resource: "roles", objects: 400, remaining: 100 };
        send(&display, Some(&prod), EventKind::Connection(&page));
        let event = wait(1, "the API server at https://x to list roles");
        send(&display, Some(&test), EventKind::Connection(&event));
        tick_after(&display, Duration::from_secs(4));
        assert_eq!(captured.text(), "");
        tick_after(&display, Duration::from_secs(6));
        tick_after(&display, Duration::from_secs(20));
        insta::assert_snapshot!(captured.text(), @"
        prod: 400 of 500 objects read
        test: waiting for the API server at https://x to list roles (at most 3m)
        Reading: 0 of 3 clusters done
        ");
        for cluster in [&prod, &test] {
            send(&display, Some(cluster), EventKind::ObservationFinished);
            send(&display, None, EventKind::ClusterFinished);
        }
        tick_after(&display, Duration::from_secs(40));
        assert!(captured.text().ends_with("Reading: 2 of 3 clusters done\n"), "{}", captured.text());
        send(&display, None, EventKind::ClustersFinished);
        let before = captured.text();
        tick_after(&display, Duration::from_mins(5));
        assert_eq!(captured.text(), before);
    }

    #[test]
    fn quiet_command_and_quick_work_show_nothing() {
        for (mode, delay) in
            [(ProgressMode::Off, Duration::from_mins(1)), (ProgressMode::Bars, Duration::from_millis(9))]
        {
            let (display, captured) = display(mode);
            send(&display, Some(&tag(0, "prod")), EventKind::ObservationStarted);
            tick_after(&display, delay);
            assert_eq!(captured.text(), "", "{mode:?}");
        }
    }

    #[test]
    fn bars_are_removed_before_a_line_and_at_the_end() {
        let (display, captured) = display(ProgressMode::Bars);
        send(&display, Some(&tag(0, "prod")), EventKind::ObservationStarted);
        tick_after(&display, Duration::from_secs(2));
        assert!(captured.text().contains("prod reading the cluster"), "{:?}", captured.text());
        display.write(&TerminalText::from_line("a note"));
        let text = captured.text();
        let (before, after) = text.split_once("a note\n").unwrap();
        assert!(before.ends_with("\u{1b}[2K") && after.contains("prod reading the cluster"), "{text:?}");
        display.finish();
        assert!(captured.text().ends_with("\u{1b}[2K"), "{:?}", captured.text());
    }

    /// Nothing is written while a credential plugin prompts, and nothing is lost.
    #[test]
    fn lines_wait_until_a_prompt_is_answered() {
        for mode in [ProgressMode::Lines, ProgressMode::Bars] {
            let (display, captured) = display(mode);
            let (first, second) = (tag(0, "first"), tag(1, "second"));
            send(&display, Some(&second), EventKind::ObservationStarted);
            send(&display, Some(&first), EventKind::Connection(&ConnectionEvent::PromptStarted));
            let before = captured.text();
            display.write(&TerminalText::from_line("a note"));
            tick_after(&display, Duration::from_secs(40));
            assert_eq!(captured.text(), before);
            send(&display, Some(&first), EventKind::Connection(&ConnectionEvent::PromptEnded));
            assert!(captured.text().ends_with("a note\n"), "{:?}", captured.text());
        }
    }

    #[test]
    fn lines_of_several_clusters_begin_with_the_cluster() {
        let (display, captured) = display(ProgressMode::Lines);
        send(&display, None, EventKind::ClustersStarted { phase: WorkPhase::Apply, total: 2 });
        send(&display, Some(&tag(0, "prod")), EventKind::Verified { checks: 2 });
        send(&display, None, EventKind::ClustersStarted { phase: WorkPhase::Apply, total: 1 });
        send(&display, Some(&tag(0, "prod")), EventKind::Verified { checks: 2 });
        insta::assert_snapshot!(captured.text(), @"
        prod: Verified 2 access checks against the API server.
        Verified 2 access checks against the API server.
        ");
    }

    proptest! {
        /// Names come from policies, kubeconfig files and servers. None of their characters reaches the terminal raw that
        /// could move the cursor, hide text or forge a line.
        #[test]
        fn hostile_names_are_escaped_in_progress(
            name in ".*",
            description in "(?s).*",
            reason in "\\PC*[\u{1b}\u{9b}\u{202e}\u{200b}\r\n\u{7}]\\PC*",
        ) {
            let cluster = tag(0, &name);
            let event = wait(1, &description);
            let retry =
                ConnectionEvent::RetryScheduled { operation: &description, reason: &reason, delay: Duration::ZERO };
            let error = ClusterError::Unreachable {
                server: description.clone(),
                why: reason.clone(),
                origin: ServerOrigin::Kubeconfig,
            };
            for mode in [ProgressMode::Lines, ProgressMode::Bars] {
                let (display, captured) = display(mode);
                send(&display, None, EventKind::ClustersStarted { phase: WorkPhase::Observe, total: 2 });
                send(&display, Some(&cluster), EventKind::ObservationStarted);
                send(&display, Some(&cluster), EventKind::Connection(&event));
                send(&display, Some(&cluster), EventKind::Connection(&retry));
                send(&display, Some(&cluster), EventKind::Note { level: crate::ops::NoteLevel::Note, text: &reason });
                let lines = display.lock().state.lines(Duration::ZERO, Instant::now());
                prop_assert!(!lines.iter().any(|line| line.contains(is_unsafe_char)), "{lines:?}");
                tick_after(&display, Duration::from_secs(10));
                send(&display, Some(&cluster), EventKind::ObservationFailed(&error));
                display.finish();
                let mut text = captured.text();
                // What the bars move the cursor with.
                for own in ["\u{1b}[2K", "\u{1b}[1A", "\u{1b}[2A", "\u{1b}[1B", "\u{1b}[2B", "\r", "\n"] {
                    text = text.replace(own, "");
                }
                prop_assert!(!text.contains(is_unsafe_char), "{text:?}");
            }
        }
    }
}
