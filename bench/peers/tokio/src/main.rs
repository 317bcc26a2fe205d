//! The benchmarks of ../.. as a Tokio programmer would write them, for scripts/bench to set beside weft's.
//!
//! One worker is a current-thread runtime, more are a multi-thread one; the timed work is itself a spawned task, since what block_on
//! runs is no worker's. Channels are kanal's where those are faster than Tokio's own (all but select, which wants Tokio's). A row that
//! Tokio cannot do is left out: a tick beside tasks that spin for ever never runs.
//!
//! usage: tokio-bench [-only PART or ^NAME$] [-workers LIST] [-min-time SECONDS] [-background N] [-list]
mod channels;
mod once;
mod tasks;

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does its work n times; `ops` operations each time.
pub struct Benchmark {
    pub name: String,
    pub ops: u64,
    pub run: Box<dyn Fn(u64) -> Work + Send + Sync>,
}

pub fn benchmark<F>(name: impl Into<String>, ops: u64, run: impl Fn(u64) -> F + Send + Sync + 'static) -> Benchmark
where
    F: Future<Output = ()> + Send + 'static,
{
    Benchmark { name: name.into(), ops, run: Box::new(move |n| Box::pin(run(n))) }
}

#[derive(Default)]
pub struct Row {
    pub ns: f64,
    pub cpu_ns: f64,
    pub bytes: Option<f64>,
    pub extra: Vec<(String, f64)>,
}

impl Row {
    fn print(&self, name: &str, workers: usize) {
        let mut line = format!(
            r#"{{"name":"{name}","workers":{workers},"ns_per_op":{},"cpu_ns_per_op":{}"#,
            self.ns, self.cpu_ns
        );
        if let Some(b) = self.bytes {
            line += &format!(r#","bytes":{b}"#);
        }
        if !self.extra.is_empty() {
            let words: Vec<_> = self.extra.iter().map(|(k, v)| format!(r#""{k}":{v}"#)).collect();
            line += &format!(r#","extra":{{{}}}"#, words.join(","));
        }
        println!("{line}}}");
    }
}

pub fn usage() -> libc::rusage {
    // SAFETY: rusage is plain data, and getrusage fills it.
    unsafe {
        let mut u = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut u), 0);
        u
    }
}

pub fn cpu_time() -> Duration {
    let u = usage();
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(u.ru_utime) + of(u.ru_stime)
}

/// Runs `work`, which is `ops` operations, once.
pub async fn timed(ops: u64, work: impl Future<Output = ()>) -> Row {
    let (cpu, start) = (cpu_time(), Instant::now());
    work.await;
    let (took, used) = (start.elapsed(), cpu_time() - cpu);
    let per = |d: Duration| d.as_nanos() as f64 / ops as f64;
    Row { ns: per(took), cpu_ns: per(used), ..Row::default() }
}

/// Raises the number of rounds until they take long enough.
async fn measure(b: &Benchmark, min_time: f64) -> Row {
    (b.run)(1).await; // memory that is touched for the first time is not the cost that is looked for
    let mut n = 1;
    loop {
        let row = timed(n * b.ops, (b.run)(n)).await;
        let took = row.ns * (n * b.ops) as f64 * 1e-9;
        if took >= min_time || n >= 1_000_000_000 {
            return row;
        }
        let next = (1.4 * n as f64 * min_time / (took + 1e-9)) as u64;
        n = (n + 1).max(next.min(10 * n));
    }
}

fn runtime(workers: usize) -> tokio::runtime::Runtime {
    let mut builder = match workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.enable_all().build().unwrap()
}

/// Parks n tasks and starts n timers, for as long as the runtime lives.
fn start_background(n: u64) {
    for i in 0..n {
        tokio::spawn(std::future::pending::<()>());
        tokio::spawn(tokio::time::sleep(Duration::from_secs(3600) + Duration::from_millis(i)));
    }
}

fn main() {
    let (mut only, mut workers, mut min_time, mut background, mut list) =
        (String::new(), "1,2".to_string(), 0.5, 0, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| fail(&format!("{arg} wants a value")));
        match arg.as_str() {
            "-only" => only = value(),
            "-workers" => workers = value(),
            "-min-time" => min_time = value().parse().unwrap_or_else(|_| fail("not a time")),
            "-background" => background = value().parse().unwrap_or_else(|_| fail("not a number")),
            "-list" => list = true,
            _ => fail(&format!("unknown argument {arg}")),
        }
    }
    let wanted = |name: &str| match only.strip_prefix('^').and_then(|o| o.strip_suffix('$')) {
        Some(exact) => name == exact,
        None => name.contains(&only),
    };
    let benchmarks: Vec<_> = tasks::all().into_iter().chain(channels::all()).map(|b| &*Box::leak(Box::new(b))).collect();
    for word in workers.split(',') {
        let w: usize = word.parse().ok().filter(|&w| w > 0).unwrap_or_else(|| fail("not a number of workers"));
        let row_of = |work: Pin<Box<dyn Future<Output = Row> + Send>>| {
            let rt = runtime(w);
            let row = rt.block_on(async {
                tokio::spawn(async move {
                    start_background(background);
                    tokio::task::yield_now().await;
                    work.await
                })
                .await
                .unwrap()
            });
            rt.shutdown_background();
            row
        };
        for &b in benchmarks.iter().filter(|b| wanted(&b.name)) {
            if list {
                println!("{}", b.name);
            } else {
                row_of(Box::pin(measure(b, min_time))).print(&b.name, w);
            }
        }
        for (name, run) in once::all() {
            if !wanted(&name) {
            } else if list {
                println!("{name}");
            } else {
                row_of(run()).print(&name, w);
            }
        }
    }
}

fn fail(what: &str) -> ! {
    eprintln!("tokio-bench: {what}");
    std::process::exit(2)
}
