//! The same story on every runtime.

use std::sync::Arc;
use std::thread;

use redis_manager::smol::SmolRuntime;

/// Runs a story on an executor of smol of its own, with one thread as the global one has. That is one for all tests of a
/// process: each would wait for what the others do there.
pub fn on_smol<F: Future>(block_on: impl FnOnce(F) -> F::Output, story: impl FnOnce(SmolRuntime) -> F) -> F::Output {
    let executor = Arc::new(smol::Executor::new());
    let (running, ended) = smol::channel::bounded::<()>(1);
    let driven = Arc::clone(&executor);
    thread::spawn(move || smol::block_on(driven.run(ended.recv())));
    let outcome = block_on(story(SmolRuntime::with_executor(&executor)));
    drop(running);
    outcome
}

/// Makes a test of an `async fn story(runtime: impl Network + Clone)` for tokio with two workers, tokio with one
/// thread, smol and async-std; in braces behind the story, any others beside them. One that `needs` an
/// [`Ability`](crate::abilities::Ability) is skipped where the server does not have it.
#[macro_export]
macro_rules! on_every_runtime {
    ($($story:ident $(needs $ability:ident)? $({ $($other:item)* })?;)*) => {$(
        mod $story {
            $($($other)*)?

            #[test]
            fn on_tokio() {
                $($crate::needs!($ability);)?
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                let runtime = runtime.expect("tokio starts");
                runtime.block_on(super::$story(redis_manager::tokio::TokioRuntime::new(runtime.handle().clone())));
            }

            #[test]
            fn on_one_thread_of_tokio() {
                $($crate::needs!($ability);)?
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("tokio starts");
                runtime.block_on(super::$story(redis_manager::tokio::TokioRuntime::new(runtime.handle().clone())));
            }

            #[test]
            fn on_smol() {
                $($crate::needs!($ability);)?
                $crate::runtimes::on_smol(smol::block_on, super::$story);
            }

            #[test]
            fn on_async_std() {
                $($crate::needs!($ability);)?
                $crate::runtimes::on_smol(async_std::task::block_on, super::$story);
            }
        }
    )*};
}

/// Ends the test here, and counts it as skipped, if the server does not have this ability.
#[macro_export]
macro_rules! needs {
    ($ability:ident) => {
        if $crate::abilities::Ability::$ability.is_missing() {
            return $crate::abilities::note_skipped($crate::abilities::Ability::$ability);
        }
    };
}
