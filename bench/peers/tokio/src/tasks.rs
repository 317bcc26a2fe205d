use crate::{benchmark, Benchmark, Work};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};
use std::sync::Arc;
use tokio::sync::{Mutex, Notify};
use tokio::task::{yield_now, JoinSet};

/// Waits for many tasks. Leaked, so that a task that counts it down needs no reference count of its own.
#[derive(Default)]
pub struct Group {
    left: AtomicUsize,
    ended: Notify,
}

impl Group {
    pub fn new() -> &'static Group {
        Box::leak(Box::default())
    }
    pub fn add(&self, n: usize) {
        self.left.fetch_add(n, Relaxed);
    }
    pub fn done(&self) {
        if self.left.fetch_sub(1, AcqRel) == 1 {
            self.ended.notify_one();
        }
    }
    pub async fn wait(&self) {
        while self.left.load(Acquire) != 0 {
            self.ended.notified().await;
        }
    }
}

async fn spawn_tasks(n: u64, tasks: usize) {
    let group = Group::new();
    for _ in 0..n {
        group.add(tasks);
        for _ in 0..tasks {
            tokio::spawn(async { group.done() });
        }
        group.wait().await;
    }
}

async fn join_set(n: u64, tasks: usize) {
    for _ in 0..n {
        let mut all = JoinSet::new();
        for _ in 0..tasks {
            all.spawn(async {});
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
    }
}

async fn spawn_one_join(n: u64) {
    for _ in 0..n {
        tokio::spawn(async {}).await.unwrap();
    }
}

async fn yield_among(n: u64, tasks: usize, yields: usize) {
    let group = Group::new();
    for _ in 0..n {
        group.add(tasks);
        for _ in 0..tasks {
            tokio::spawn(async move {
                for _ in 0..yields {
                    yield_now().await;
                }
                group.done();
            });
        }
        group.wait().await;
    }
}

fn fib(n: u32) -> std::pin::Pin<Box<dyn std::future::Future<Output = u32> + Send>> {
    Box::pin(async move {
        if n < 2 {
            return n;
        }
        let left = tokio::spawn(fib(n - 1));
        let right = fib(n - 2).await;
        left.await.unwrap() + right
    })
}

async fn fib_27(n: u64) {
    for _ in 0..n {
        assert_eq!(fib(27).await, 196_418);
    }
}

/// Tokio's own mutex: what a task may hold while it waits, as the others' may.
async fn mutex_8_tasks(n: u64) {
    let (group, lock) = (Group::new(), Arc::new(Mutex::new(0u64)));
    for _ in 0..n {
        group.add(8);
        for _ in 0..8 {
            let lock = lock.clone();
            tokio::spawn(async move {
                for _ in 0..100_000 {
                    *lock.lock().await += 1;
                }
                group.done();
            });
        }
        group.wait().await;
    }
    assert_eq!(*lock.lock().await, n * 800_000);
}

const INDICES: usize = 1_000_000;
const CHUNK: usize = 1000;

struct Squares {
    input: Vec<u32>,
    output: Vec<AtomicU32>, // relaxed stores: plain ones in machine code
}

impl Squares {
    fn new() -> &'static Squares {
        Box::leak(Box::new(Squares { input: vec![3; INDICES], output: (0..INDICES).map(|_| AtomicU32::new(0)).collect() }))
    }
    fn of_chunk(&self, c: usize) {
        let at = c * CHUNK..(c + 1) * CHUNK;
        // SAFETY: a chunk is written by one task only, and AtomicU32 lies in memory as u32 does. Plain stores can be vectorised.
        let out = unsafe { std::slice::from_raw_parts_mut(self.output.as_ptr().add(at.start) as *mut u32, CHUNK) };
        for (o, &i) in out.iter_mut().zip(&self.input[at]) {
            *o = i.wrapping_mul(i).wrapping_add(1);
        }
    }
}

/// As many tasks as there are workers share the chunks, which takes much less time than a task a chunk.
async fn parallel_for(n: u64) {
    let (group, work, taken) = (Group::new(), Squares::new(), &*Box::leak(Box::new(AtomicUsize::new(0))));
    let tasks = tokio::runtime::Handle::current().metrics().num_workers();
    for _ in 0..n {
        taken.store(0, Relaxed);
        group.add(tasks);
        for _ in 0..tasks {
            tokio::spawn(async move {
                loop {
                    match taken.fetch_add(1, Relaxed) {
                        c if c < INDICES / CHUNK => work.of_chunk(c),
                        _ => break,
                    }
                }
                group.done();
            });
        }
        group.wait().await;
    }
    assert!(work.output.iter().all(|o| o.load(Relaxed) == 10));
}

async fn chunks_alone(n: u64) {
    let work = Squares::new();
    for _ in 0..n {
        (0..INDICES / CHUNK).for_each(|c| work.of_chunk(c));
        std::hint::black_box(work);
    }
}

pub fn nanosleep_10ms() {
    let mut left = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    // SAFETY: both arguments point at a timespec.
    while unsafe { libc::nanosleep(&left.clone(), &mut left) } != 0 {}
}

async fn blocked(n: u64, announced: bool) {
    let group = Group::new();
    for _ in 0..n {
        group.add(64);
        for _ in 0..64 {
            tokio::spawn(async move {
                for _ in 0..10 {
                    if announced {
                        tokio::task::spawn_blocking(nanosleep_10ms).await.unwrap();
                    } else {
                        nanosleep_10ms();
                    }
                }
                group.done();
            });
        }
        group.wait().await;
    }
}

pub fn all() -> Vec<Benchmark> {
    let mut out = vec![
        benchmark("spawn_join", 1_000_000, |n| spawn_tasks(n, 1_000_000)),
        benchmark("group_join", 1_000_000, |n| join_set(n, 1_000_000)),
        benchmark("spawn_one_join", 1, spawn_one_join),
        benchmark("yield_2", 1_000_000, |n| yield_among(n, 2, 500_000)),
        benchmark("yield_1000", 1_000_000, |n| yield_among(n, 1000, 1000)),
        benchmark("fib_27", 1, fib_27),
        benchmark("mutex_8_tasks", 800_000, mutex_8_tasks),
        benchmark("parallel_for", (INDICES / CHUNK) as u64, parallel_for),
        benchmark("chunks_alone", (INDICES / CHUNK) as u64, chunks_alone),
        benchmark("blocked_64x10ms", 640, |n| blocked(n, false)),
        benchmark("blocking_64x10ms", 640, |n| blocked(n, true)),
    ];
    for tasks in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let yields = 1_000_000 / tasks;
        out.push(benchmark(format!("spawn_tasks_{tasks}"), tasks as u64, move |n| -> Work { Box::pin(spawn_tasks(n, tasks)) }));
        out.push(benchmark(format!("yield_tasks_{tasks}"), (tasks * yields) as u64, move |n| yield_among(n, tasks, yields)));
    }
    out
}
