//! What a connection does, as events: requests, waits, retries, pages of lists and prompts of credential plugins.
//!
//! The receiver decides what is shown, and after which delay.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Something that a connection does. The texts have no credential; they can have names from a kubeconfig or a server.
#[derive(Debug)]
pub(crate) enum ConnectionEvent<'a> {
    /// A request, or a run of a credential plugin, has ended: `GET https://…`, `200`.
    Ended {
        description: &'a str,
        result: &'a str,
        elapsed: Duration,
    },
    /// A wait begins, which is long only if something is slow.
    WaitStarted {
        id: u64,
        description: &'a str,
        /// The longest possible duration.
        limit: Duration,
        /// How long it takes in any case.
        expected: Duration,
    },
    WaitEnded {
        id: u64,
    },
    /// A request is sent again after a delay.
    RetryScheduled {
        operation: &'a str,
        reason: &'a str,
        delay: Duration,
    },
    /// A page of a list was received.
    PageListed {
        resource: &'static str,
        /// The objects of this kind that were received so far.
        objects: usize,
        /// How many follow, if the server says so.
        remaining: usize,
    },
    /// A credential plugin can use the terminal from now on.
    PromptStarted,
    PromptEnded,
}

type ReceiveConnectionEvent = dyn Fn(&ConnectionEvent<'_>) + Send + Sync;

/// Receives the events of connections. Without a receiver they are dropped.
#[derive(Clone, Default)]
pub(crate) struct ConnectionLog(Option<Arc<ReceiveConnectionEvent>>);

impl fmt::Debug for ConnectionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLog").finish_non_exhaustive()
    }
}

/// Reports the end of a wait or a prompt when it is dropped.
pub(super) struct ActiveWait<'a> {
    log: &'a ConnectionLog,
    end: ConnectionEvent<'static>,
}

impl Drop for ActiveWait<'_> {
    fn drop(&mut self) {
        self.log.send(&self.end);
    }
}

/// Each wait of the process has its own number.
static NEXT_WAIT: AtomicU64 = AtomicU64::new(1);

impl ConnectionLog {
    pub(crate) fn new(receive: impl Fn(&ConnectionEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(receive)))
    }

    pub(super) fn send(&self, event: &ConnectionEvent<'_>) {
        if let Some(receive) = &self.0 {
            receive(event);
        }
    }

    /// Reports a finished request: `GET https://… 200 in 12ms`.
    pub(crate) fn ended(&self, description: &str, result: &str, elapsed: Duration) {
        self.send(&ConnectionEvent::Ended { description, result, elapsed });
    }

    /// Waits for the future, and reports what it waits for and the limit of the wait.
    pub(crate) fn watch<T>(
        &self,
        description: &str,
        limit: Duration,
        waiting: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        self.watch_after(Duration::ZERO, description, limit, waiting)
    }

    /// Like [`Self::watch`], for work that takes `expected` without any delay.
    pub(crate) fn watch_after<T>(
        &self,
        expected: Duration,
        description: &str,
        limit: Duration,
        waiting: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        // Boxed, because the future of a whole request is large.
        let waiting = Box::pin(waiting);
        async move {
            let id = NEXT_WAIT.fetch_add(1, Ordering::Relaxed);
            self.send(&ConnectionEvent::WaitStarted { id, description, limit, expected });
            let _active = ActiveWait { log: self, end: ConnectionEvent::WaitEnded { id } };
            waiting.await
        }
    }

    /// Reports that a credential plugin can use the terminal until the result is dropped.
    pub(super) fn prompting(&self) -> ActiveWait<'_> {
        self.send(&ConnectionEvent::PromptStarted);
        ActiveWait { log: self, end: ConnectionEvent::PromptEnded }
    }
}
