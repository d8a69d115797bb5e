//! Runs a job for each cluster, several at the same time.
//!
//! Each job has a thread, so that two clusters are planned on two cores. A job waits for its requests in its thread,
//! while the threads of the runtime make them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::context::OpsContext;
use super::observer::{EventKind, WorkPhase};

/// Parsing and planning are recursive. The threads have the stack of a main thread.
const STACK_BYTES: usize = 8 << 20;

/// Like [`run_parallel`] for the clusters of a use case. Reports the start and the end of the work.
pub(super) fn run_clusters<I: Send, T: Send, R>(
    phase: WorkPhase,
    items: Vec<I>,
    context: &OpsContext,
    job: impl Fn(I) -> T + Sync,
    meanwhile: impl FnOnce() -> R,
) -> (Vec<T>, R) {
    let observer = &context.observer;
    observer.send(EventKind::ClustersStarted { phase, total: items.len() });
    let run_one = |item| {
        let result = job(item);
        observer.send(EventKind::ClusterFinished);
        result
    };
    let results = run_parallel(items, context.parallel, run_one, meanwhile);
    observer.send(EventKind::ClustersFinished);
    results
}

/// Runs a job for each item, at most `parallel` at the same time, and calls `meanwhile` in this thread. Returns the
/// results in the order of the items.
///
/// # Panics
/// With the panic of a job.
fn run_parallel<I: Send, T: Send, R>(
    items: Vec<I>,
    parallel: usize,
    job: impl Fn(I) -> T + Sync,
    meanwhile: impl FnOnce() -> R,
) -> (Vec<T>, R) {
    let total = items.len();
    let queue: Mutex<VecDeque<(usize, I)>> = Mutex::new(items.into_iter().enumerate().collect());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let run_jobs = || {
        let mut results = Vec::new();
        while let Some((position, item)) = next() {
            results.push((position, job(item)));
        }
        results
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..parallel.max(1).min(total))
            .map_while(|_| {
                let thread = std::thread::Builder::new().name("cluster".to_owned()).stack_size(STACK_BYTES);
                thread.spawn_scoped(scope, run_jobs).ok()
            })
            .collect();
        let other = meanwhile();
        // Fewer threads do the same work. If the system has none left, this thread does.
        let mut results = if threads.is_empty() { tokio::task::block_in_place(run_jobs) } else { Vec::new() };
        for thread in threads {
            results.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results.sort_by_key(|(position, _)| *position);
        (results.into_iter().map(|(_, result)| result).collect(), other)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..50).collect();
        let (results, other) = run_parallel(items.clone(), 7, |item| item * 2, || "parsed");
        assert_eq!(results, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(other, "parsed");
        assert_eq!(run_parallel(Vec::<u8>::new(), 0, |item| item, || ()), (Vec::new(), ()));
    }

    /// Four jobs wait for each other, so they must run at the same time; never more than four do.
    #[test]
    fn as_many_jobs_run_at_the_same_time_as_allowed() {
        let (barrier, running, most) = (Barrier::new(4), AtomicUsize::new(0), AtomicUsize::new(0));
        let job = |item: usize| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            item
        };
        run_parallel((0..12).collect(), 4, job, || ());
        assert_eq!(most.into_inner(), 4);
    }

    #[test]
    #[should_panic(expected = "the third")]
    fn panic_of_a_job_is_a_panic_of_the_command() {
        let _ = run_parallel(vec![1, 2, 3], 2, |item| assert!(item != 3, "the third"), || ());
    }
}
