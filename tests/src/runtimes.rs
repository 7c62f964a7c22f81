//! The same story on every runtime.

/// Makes a test of an `async fn story(runtime: impl Network + Clone)` for tokio with two workers, tokio with one
/// thread, smol and async-std; in braces behind the story, any others beside them.
#[macro_export]
macro_rules! on_every_runtime {
    ($($story:ident $({ $($other:item)* })?;)*) => {$(
        mod $story {
            $($($other)*)?

            #[test]
            fn on_tokio() {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                let runtime = runtime.expect("tokio starts");
                runtime.block_on(super::$story(redis_manager::tokio::TokioRuntime::new(runtime.handle().clone())));
            }

            #[test]
            fn on_one_thread_of_tokio() {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("tokio starts");
                runtime.block_on(super::$story(redis_manager::tokio::TokioRuntime::new(runtime.handle().clone())));
            }

            #[test]
            fn on_smol() {
                smol::block_on(super::$story(redis_manager::smol::SmolRuntime::new()));
            }

            #[test]
            fn on_async_std() {
                async_std::task::block_on(super::$story(redis_manager::smol::SmolRuntime::new()));
            }
        }
    )*};
}
