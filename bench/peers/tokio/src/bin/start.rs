//! Starts a runtime, runs one task, and ends: bench_start_exit measures it, WEFT_BENCH_START names it.
fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
}
