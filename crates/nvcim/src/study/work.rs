//! Many independent measurements on a few threads, each measurement on one.
//!
//! A measurement that has a core to itself takes memory by the number of threads, not of measurements, and its
//! CPU time is that of one core.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};

/// Works through `tasks`, `jobs` at a time. Once one has failed, no other is begun.
///
/// # Errors
/// The problems of every task that failed.
pub fn run_all<T: Send>(
    tasks: impl Iterator<Item = T> + Send,
    jobs: usize,
    work: &(dyn Fn(T) -> Result<()> + Sync),
) -> Result<()> {
    let tasks = Mutex::new(Some(tasks));
    let problems = Mutex::new(Vec::new());
    let next = || lock(&tasks).as_mut().and_then(Iterator::next);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                let done = on_one_core(|| -> Result<()> {
                    while let Some(task) = next() {
                        work(task)?;
                    }
                    Ok(())
                });
                if let Err(found) = done.unwrap_or_else(|problem| Err(problem.into())) {
                    *lock(&tasks) = None;
                    lock(&problems).extend(found);
                }
            });
        }
    });
    fail_if_any(problems.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs work, and everything that it would hand to other threads, on one thread of its own.
///
/// # Errors
/// Without room for one more thread.
pub fn on_one_core<T: Send>(work: impl FnOnce() -> T + Send) -> std::result::Result<T, Diagnostic> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| Diagnostic::internal("threads", error.to_string()))?;
    Ok(pool.install(work))
}

/// What is behind a lock, whoever left it.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use nvcim_ir::diag::Diagnostic;

    use super::{lock, run_all};

    #[test]
    fn every_task_is_done_once() {
        let done = Mutex::new(Vec::new());
        let work = |task: usize| {
            lock(&done).push(task);
            Ok(())
        };
        run_all(0..20, 3, &work).unwrap();
        lock(&done).sort_unstable();
        assert_eq!(*lock(&done), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_failure_ends_the_run_and_is_told() {
        let done = Mutex::new(0);
        let work = |task: usize| {
            *lock(&done) += 1;
            if task == 1 { Err(Diagnostic::bad_input("one", "is odd").into()) } else { Ok(()) }
        };
        let problems = run_all(0..100, 1, &work).unwrap_err();
        assert_eq!((problems.len(), *lock(&done)), (1, 2));
    }
}
