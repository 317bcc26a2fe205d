//! The rows that say themselves how often they repeat: latencies, and memory, which only the first call in a process tells.
use crate::tasks::Group;
use crate::{cpu_time, timed, usage, Row};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::time::{Duration, Instant};
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

fn lateness(what: &str, mut us: Vec<f64>) -> Vec<(String, f64)> {
    us.sort_by(f64::total_cmp);
    let at = |share: f64| us[((us.len() as f64 * share) as usize).min(us.len() - 1)];
    vec![(format!("{what}_p50_us"), at(0.5)), (format!("{what}_p99_us"), at(0.99)), (format!("{what}_max_us"), at(1.0))]
}

async fn tick_idle() -> Row {
    let mut late = Vec::new();
    let mut row = timed(500, async {
        for _ in 0..500 {
            let due = Instant::now() + Duration::from_millis(1);
            sleep_until(due.into()).await;
            late.push(due.elapsed().as_nanos() as f64 / 1e3);
        }
    })
    .await;
    row.extra = lateness("late", late);
    row
}

async fn idle_1s() -> Row {
    sleep(Duration::from_millis(50)).await;
    let mut row = timed(1, sleep(Duration::from_secs(1))).await;
    row.extra = vec![("cpu_ms".into(), row.cpu_ns / 1e6)];
    row
}

async fn cancel_parked(tasks: usize, rounds: usize) -> Row {
    let (mut used, group) = (Duration::ZERO, Group::new());
    let times: &'static [AtomicU64] = Vec::leak((0..tasks).map(|_| AtomicU64::new(0)).collect());
    let (mut all, mut last, mut in_call) = (Vec::new(), 0.0, 0.0);
    for _ in 0..rounds {
        let token = CancellationToken::new();
        let origin = Instant::now();
        let begun: &'static AtomicUsize = Box::leak(Box::default());
        group.add(tasks);
        for at in times {
            let token = token.clone();
            tokio::spawn(async move {
                begun.fetch_add(1, Relaxed);
                token.cancelled().await;
                at.store(origin.elapsed().as_nanos() as u64, Relaxed);
                group.done();
            });
        }
        while begun.load(Relaxed) != tasks {
            yield_now().await;
        }
        sleep(Duration::from_millis(2)).await; // the last has begun: let it park
        let cpu = cpu_time();
        let begin = origin.elapsed().as_nanos() as f64;
        token.cancel();
        in_call += origin.elapsed().as_nanos() as f64 - begin;
        group.wait().await;
        used += cpu_time() - cpu;
        let round: Vec<f64> = times.iter().map(|t| (t.load(Relaxed) as f64 - begin) / 1e3).collect();
        last += round.iter().copied().fold(0.0, f64::max);
        all.extend(round);
    }
    let ops = (tasks * rounds) as f64;
    let mut extra = lateness("met", all);
    extra.push(("call_us".into(), in_call / 1e3 / rounds as f64));
    Row { ns: last * 1e3 / ops, cpu_ns: used.as_nanos() as f64 / ops, bytes: None, extra }
}

const MILLION: u64 = 1_000_000;

async fn sleepers() -> Row {
    let mut row = timed(MILLION, async {
        let (group, mut x) = (Group::new(), 1u32);
        group.add(MILLION as usize);
        for _ in 0..MILLION {
            x = x.wrapping_mul(1664525).wrapping_add(1013904223);
            let d = Duration::from_nanos((x as f64 / u32::MAX as f64 * 1e9) as u64);
            tokio::spawn(async move {
                sleep(d).await;
                group.done();
            });
        }
        group.wait().await;
    })
    .await;
    row.extra = vec![
        ("cpu_ms".into(), row.cpu_ns * MILLION as f64 / 1e6),
        ("peak_mb".into(), usage().ru_maxrss as f64 / 1024.0),
    ];
    row
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

/// One worker, and the spawner does not await: none can begin.
async fn queued() -> Row {
    let (before, group) = (resident_bytes(), Group::new());
    group.add(MILLION as usize);
    let mut row = timed(MILLION, async {
        for _ in 0..MILLION {
            tokio::spawn(async { group.done() });
        }
    })
    .await;
    row.bytes = Some((resident_bytes() - before) / MILLION as f64);
    group.wait().await;
    row
}

async fn parked(tasks: u64, own: bool) -> Row {
    let (group, begun) = (Group::new(), &*Box::leak(Box::new(AtomicU64::new(0))));
    group.add(tasks as usize);
    let mut senders: Vec<Option<kanal::AsyncSender<()>>> = (0..tasks).map(|_| None).collect(); // touched before the look
    let before = resident_bytes();
    let (shared_tx, shared_rx) = kanal::bounded_async::<()>(0);
    let mut row = timed(tasks, async {
        for i in 0..tasks {
            let rx = if own {
                let (tx, rx) = kanal::bounded_async::<()>(0);
                senders[i as usize] = Some(tx);
                rx
            } else {
                shared_rx.clone()
            };
            tokio::spawn(async move {
                begun.fetch_add(1, Relaxed);
                let _ = rx.recv().await;
                group.done();
            });
            if i % 64 == 63 {
                yield_now().await;
            }
        }
        while begun.load(Relaxed) != tasks {
            yield_now().await;
        }
    })
    .await;
    row.bytes = Some((resident_bytes() - before) / tasks as f64);
    drop((senders, shared_tx));
    group.wait().await;
    row
}

type Run = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Row> + Send>>>;

fn row<F: Future<Output = Row> + Send + 'static>(name: impl Into<String>, run: impl Fn() -> F + 'static) -> (String, Run) {
    (name.into(), Box::new(move || Box::pin(run())))
}

pub fn all() -> Vec<(String, Run)> {
    let mut out = vec![
        row("tick_idle", tick_idle),
        row("idle_1s", idle_1s),
        row("cancel_parked_1", || cancel_parked(1, 200)),
        row("cancel_parked_1000", || cancel_parked(1000, 100)),
        row("cancel_parked_100000", || cancel_parked(100_000, 5)),
        row("sleepers_1m", sleepers),
        row("queued_1m", queued),
        row("parked_one_channel", || parked(MILLION, false)),
        row("parked_own_channel", || parked(MILLION, true)),
    ];
    for tasks in [100, 1_000, 10_000, 100_000, MILLION] {
        out.push(row(format!("parked_tasks_{tasks}"), move || parked(tasks, true)));
    }
    out
}
