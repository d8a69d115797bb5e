//! Stops a command when the user or the system asks for it, and ends the child processes that it has started.
//!
//! A command that only reads ends at once. An apply finishes the write that it is making, so it defers the end: it
//! asks [`Interrupt::is_requested`] before each write, and every longer wait also waits for [`Interrupt::requested`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// What the process does after a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalResponse {
    /// The apply stops after the current write.
    StopAfterWrite,
    /// The process exits now.
    ExitNow,
}

/// Shared by a command, its connections and the thread that receives signals.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<InterruptState>);

#[derive(Default)]
struct InterruptState {
    is_deferred: AtomicBool,
    is_requested: AtomicBool,
    notify: Notify,
    /// The process ids of the running children, and whether each leads a process group.
    children: Mutex<Vec<(u32, bool)>>,
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").field("is_requested", &self.is_requested()).finish_non_exhaustive()
    }
}

impl Interrupt {
    /// From now on, the first signal does not end the process.
    pub(crate) fn defer(&self) {
        self.0.is_deferred.store(true, Ordering::SeqCst);
    }

    /// Records a signal, and returns what the process does.
    pub(crate) fn receive_signal(&self) -> SignalResponse {
        let is_second = self.0.is_requested.swap(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
        if is_second || !self.0.is_deferred.load(Ordering::SeqCst) {
            SignalResponse::ExitNow
        } else {
            SignalResponse::StopAfterWrite
        }
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.is_requested.load(Ordering::SeqCst)
    }

    /// Waits until a signal is received.
    pub(crate) async fn requested(&self) {
        let mut notified = std::pin::pin!(self.0.notify.notified());
        // Enabled before the check, so that a signal between the check and the wait is not missed.
        notified.as_mut().enable();
        if !self.is_requested() {
            notified.await;
        }
    }

    /// Waits for the future, or for a signal. `None` after a signal.
    pub(crate) fn or_stop<T>(&self, future: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        // Boxed, because the future of a whole command is large, and each future that contains it would be larger.
        let future = Box::pin(future);
        async move {
            tokio::select! {
                biased;
                () = self.requested() => None,
                result = future => Some(result),
            }
        }
    }

    /// Adds a child that has to end with this process. It is removed when the result is dropped.
    pub(super) fn add_child(&self, pid: u32, leads_group: bool) -> RunningChild {
        self.children().push((pid, leads_group));
        RunningChild { interrupt: self.clone(), pid }
    }

    /// Kills the running children with the processes that they have started. Errors are ignored: the process ends in any case.
    pub(crate) fn kill_children(&self) {
        for (pid, leads_group) in self.children().drain(..) {
            super::child::kill_process_tree(pid, leads_group);
        }
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<(u32, bool)>> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child that [`Interrupt::kill_children`] kills.
pub(super) struct RunningChild {
    interrupt: Interrupt,
    pid: u32,
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        self.interrupt.children().retain(|(pid, _)| *pid != self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_signal_ends_a_command_unless_it_is_deferred_and_the_second_always_does() {
        assert_eq!(Interrupt::default().receive_signal(), SignalResponse::ExitNow);
        let interrupt = Interrupt::default();
        interrupt.defer();
        assert!(!interrupt.is_requested());
        assert_eq!(interrupt.receive_signal(), SignalResponse::StopAfterWrite);
        assert!(interrupt.is_requested());
        assert_eq!(interrupt.receive_signal(), SignalResponse::ExitNow);
    }

    #[tokio::test]
    async fn wait_ends_with_a_signal_before_or_during_it() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.or_stop(std::future::ready(1)).await, Some(1));
        let in_thread = interrupt.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            in_thread.receive_signal()
        });
        assert_eq!(interrupt.or_stop(std::future::pending::<()>()).await, None);
        thread.join().unwrap();
        assert_eq!(interrupt.or_stop(std::future::pending::<()>()).await, None);
    }
}
