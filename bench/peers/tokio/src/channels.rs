use crate::tasks::Group;
use crate::{benchmark, Benchmark, Work};
use kanal::{bounded_async, AsyncReceiver, AsyncSender};
use std::sync::atomic::{AtomicU64, Ordering::*};
use tokio::sync::mpsc;

async fn ping_pong(n: u64) {
    let (ping, pinged) = bounded_async(0);
    let (pong, ponged) = bounded_async(0);
    let partner = tokio::spawn(async move {
        while let Ok(ball) = pinged.recv().await {
            pong.send(ball).await.unwrap();
        }
    });
    for _ in 0..n {
        ping.send(1).await.unwrap();
        ponged.recv().await.unwrap();
    }
    drop(ping);
    partner.await.unwrap();
}

async fn stream(n: u64, producers: u64, consumers: u64) {
    const VALUES: u64 = 1_000_000;
    let (sum, group) = (&*Box::leak(Box::new(AtomicU64::new(0))), Group::new());
    for _ in 0..n {
        let (tx, rx) = bounded_async::<u64>(128);
        group.add((producers + consumers) as usize);
        for _ in 0..consumers {
            let rx = rx.clone();
            tokio::spawn(async move {
                let mut mine = 0;
                while let Ok(v) = rx.recv().await {
                    mine += v;
                }
                sum.fetch_add(mine, Relaxed);
                group.done();
            });
        }
        for _ in 0..producers {
            let tx = tx.clone();
            tokio::spawn(async move {
                for _ in 0..VALUES / producers {
                    tx.send(1).await.unwrap();
                }
                group.done();
            });
        }
        drop((tx, rx));
        group.wait().await;
    }
    assert_eq!(sum.load(Relaxed), n * VALUES);
}

const SELECT_VALUES: usize = 200_000;

/// N channels, and a task that sends to them in turn.
fn feed<const N: usize>() -> [mpsc::Receiver<usize>; N] {
    let mut senders = Vec::new();
    let receivers = std::array::from_fn(|_| {
        let (tx, rx) = mpsc::channel(1);
        senders.push(tx);
        rx
    });
    tokio::spawn(async move {
        for i in 0..SELECT_VALUES {
            senders[i % N].send(1).await.unwrap();
        }
        std::future::pending::<()>().await // closed channels would be ready
    });
    receivers
}

async fn select_2(n: u64) {
    for _ in 0..n {
        let [mut a, mut b] = feed();
        let mut sum = 0;
        while sum < SELECT_VALUES {
            sum += tokio::select! { Some(v) = a.recv() => v, Some(v) = b.recv() => v };
        }
    }
}

async fn select_8(n: u64) {
    for _ in 0..n {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = feed();
        let mut sum = 0;
        while sum < SELECT_VALUES {
            sum += tokio::select! {
                Some(v) = a.recv() => v, Some(v) = b.recv() => v, Some(v) = c.recv() => v, Some(v) = d.recv() => v,
                Some(v) = e.recv() => v, Some(v) = f.recv() => v, Some(v) = g.recv() => v, Some(v) = h.recv() => v,
            };
        }
    }
}

async fn select_otherwise_1(n: u64) {
    let (_tx, mut rx) = mpsc::channel::<()>(1);
    for _ in 0..n {
        assert!(rx.try_recv().is_err());
    }
}

async fn select_otherwise_2(n: u64) {
    let (_a, mut a) = mpsc::channel::<()>(1);
    let (_b, mut b) = mpsc::channel::<()>(1);
    for _ in 0..n {
        assert!(a.try_recv().is_err() && b.try_recv().is_err());
    }
}

fn node(parent: AsyncSender<u64>, first: u64, leaves: u64) -> Work {
    Box::pin(async move {
        if leaves == 1 {
            parent.send(first).await.unwrap();
            return;
        }
        let (tx, rx) = bounded_async(0);
        for i in 0..10 {
            tokio::spawn(node(tx.clone(), first + i * (leaves / 10), leaves / 10));
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += rx.recv().await.unwrap();
        }
        parent.send(sum).await.unwrap();
    })
}

async fn skynet(n: u64) {
    const LEAVES: u64 = 1_000_000;
    for _ in 0..n {
        let (tx, rx) = bounded_async(0);
        tokio::spawn(node(tx, 0, LEAVES));
        assert_eq!(rx.recv().await.unwrap(), LEAVES * (LEAVES - 1) / 2);
    }
}

async fn filter(input: AsyncReceiver<u32>, out: AsyncSender<u32>, prime: u32) {
    while let Ok(i) = input.recv().await {
        if i % prime != 0 && out.send(i).await.is_err() {
            return;
        }
    }
}

async fn prime_sieve(n: u64) {
    let group = Group::new();
    for _ in 0..n {
        let (tx, mut input) = bounded_async(0);
        group.add(1);
        tokio::spawn(async move {
            let mut i = 2;
            while tx.send(i).await.is_ok() {
                i += 1;
            }
            group.done();
        });
        let mut prime = 0;
        for _ in 0..2000 {
            prime = input.recv().await.unwrap();
            let (tx, rx) = bounded_async(0);
            let from = std::mem::replace(&mut input, rx);
            group.add(1);
            tokio::spawn(async move {
                filter(from, tx, prime).await;
                group.done();
            });
        }
        assert_eq!(prime, 17_389);
        drop(input);
        group.wait().await;
    }
}

fn work(mut x: u64) -> u64 {
    for _ in 0..1400 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

async fn pipeline(n: u64) {
    const MESSAGES: u64 = 10_000;
    for _ in 0..n {
        let (first, mut input) = bounded_async(16);
        for _ in 0..4 {
            let (tx, rx) = bounded_async(16);
            let from: AsyncReceiver<u64> = std::mem::replace(&mut input, rx);
            tokio::spawn(async move {
                while let Ok(m) = from.recv().await {
                    tx.send(work(m)).await.unwrap();
                }
            });
        }
        tokio::spawn(async move {
            for m in 1..=MESSAGES {
                first.send(m).await.unwrap();
            }
        });
        let mut out = 0;
        while let Ok(m) = input.recv().await {
            std::hint::black_box(m);
            out += 1;
        }
        assert_eq!(out, MESSAGES);
    }
}

pub fn all() -> Vec<Benchmark> {
    vec![
        benchmark("ping_pong", 1, ping_pong),
        benchmark("buffered_1p1c", 1_000_000, |n| stream(n, 1, 1)),
        benchmark("buffered_4p4c", 1_000_000, |n| stream(n, 4, 4)),
        benchmark("select_2", SELECT_VALUES as u64, select_2),
        benchmark("select_8", SELECT_VALUES as u64, select_8),
        benchmark("select_otherwise_1", 1, select_otherwise_1),
        benchmark("select_otherwise_2", 1, select_otherwise_2),
        benchmark("skynet", 1_000_000, skynet),
        benchmark("prime_sieve", 1, prime_sieve),
        benchmark("pipeline_4x2us", 10_000, pipeline),
    ]
}
