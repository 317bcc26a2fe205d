//! Starts a runtime, runs one task, and ends: bench_start_exit measures it, WEFT_BENCH_START names it. With one worker the runtime is the
//! current thread's.
use tokio::runtime::Builder;

fn main() {
    let one = std::env::var("TOKIO_WORKER_THREADS").is_ok_and(|n| n == "1");
    let mut builder = if one { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
}
