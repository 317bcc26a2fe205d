//! The work of examples/cache_server in Rust, for scripts/bench programs to set beside it: a task a client on Tokio, one read, all commands
//! in it, one write; 64 hash tables with a lock each, keys that expire.
//!
//! usage: cache [--listen HOST:PORT] [--threads N]
//!
//! PING, GET, SET (EX, PX, NX, XX), DEL, EXISTS, EXPIRE, TTL, INCR, MGET, MSET, DBSIZE, FLUSHALL, CONFIG GET, in the Redis protocol's version 2;
//! nothing is evicted or saved, as by cache_server without --max-bytes and --snapshot. What has expired is
//! not seen any more, and replaced when its key comes again.
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SHARDS: usize = 64;
const LONGEST: usize = 512 * 1024 * 1024;

struct Entry {
    value: Box<[u8]>,
    expires: i64, // milliseconds since 1970; 0: never
}
type Shard = FxHashMap<Box<[u8]>, Entry>;

struct Store(Vec<Mutex<Shard>>);

impl Store {
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let which = (FxBuildHasher.hash_one(key) >> 32) as usize % SHARDS;
        self.0[which].lock().expect("nobody panics under it")
    }
    fn each(&self, mut f: impl FnMut(&mut Shard)) {
        self.0.iter().for_each(|s| f(&mut s.lock().expect("nobody panics under it")));
    }
}

/// What is there and has not expired.
fn live<'a>(shard: &'a Shard, key: &[u8], now: i64) -> Option<&'a Entry> {
    shard.get(key).filter(|e| e.expires == 0 || e.expires > now)
}

fn put(shard: &mut Shard, key: &[u8], value: &[u8], expires: i64) {
    match shard.get_mut(key) {
        Some(e) if e.value.len() == value.len() => {
            e.value.copy_from_slice(value);
            e.expires = expires;
        }
        Some(e) => *e = Entry { value: value.into(), expires },
        None => drop(shard.insert(key.into(), Entry { value: value.into(), expires })),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn integer(out: &mut Vec<u8>, kind: u8, n: i64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), n.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, text: &[u8]) {
    integer(out, b'$', text.len() as i64);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk_or_null(out: &mut Vec<u8>, e: Option<&Entry>) {
    match e {
        Some(e) => bulk(out, &e.value),
        None => out.extend_from_slice(b"$-1\r\n"),
    }
}

fn error(out: &mut Vec<u8>, what: &str) {
    out.extend_from_slice(format!("-ERR {what}\r\n").as_bytes());
}

const NOT_INTEGER: &str = "value is not an integer or out of range";

fn set(store: &Store, a: &[&[u8]], now: i64, out: &mut Vec<u8>) {
    let (mut expires, mut if_new, mut if_there) = (0, false, false);
    let mut i = 3;
    while i < a.len() {
        let unit = if a[i].eq_ignore_ascii_case(b"EX") { 1000 } else { 1 };
        match a[i].to_ascii_uppercase().as_slice() {
            b"NX" => if_new = true,
            b"XX" => if_there = true,
            b"EX" | b"PX" if i + 1 < a.len() => {
                i += 1;
                let Some(n) = number(a[i]) else { return error(out, NOT_INTEGER) };
                match n.checked_mul(unit).and_then(|n| n.checked_add(now)) {
                    Some(at) if n > 0 => expires = at,
                    _ => return error(out, "invalid expire time in 'set' command"),
                }
            }
            _ => return error(out, "syntax error"),
        }
        i += 1;
    }
    let mut shard = store.shard(a[1]);
    if if_new || if_there {
        let there = live(&shard, a[1], now).is_some();
        if (if_new && there) || (if_there && !there) {
            return out.extend_from_slice(b"$-1\r\n");
        }
    }
    put(&mut shard, a[1], a[2], expires);
    out.extend_from_slice(b"+OK\r\n");
}

fn incr(store: &Store, key: &[u8], now: i64, out: &mut Vec<u8>) {
    let mut shard = store.shard(key);
    let (old, expires) = match live(&shard, key, now) {
        Some(e) => (number(&e.value), e.expires),
        None => (Some(0), 0),
    };
    let Some(n) = old else { return error(out, NOT_INTEGER) };
    let Some(n) = n.checked_add(1) else { return error(out, "increment or decrement would overflow") };
    put(&mut shard, key, n.to_string().as_bytes(), expires);
    integer(out, b':', n);
}

fn expire(store: &Store, a: &[&[u8]], now: i64, out: &mut Vec<u8>) {
    let Some(at) = number(a[2]).and_then(|n| n.checked_mul(1000)?.checked_add(now)) else { return error(out, NOT_INTEGER) };
    let mut shard = store.shard(a[1]);
    let there = live(&shard, a[1], now).is_some();
    if let (true, Some(e)) = (there, shard.get_mut(a[1])) {
        e.expires = at.max(1);
    }
    integer(out, b':', there as i64);
}

fn execute(store: &Store, a: &[&[u8]], now: i64, out: &mut Vec<u8>) {
    let mut name = [0; 16];
    let size = a[0].len().min(name.len());
    name[..size].copy_from_slice(&a[0][..size]);
    name[..size].make_ascii_uppercase();
    let count = |f: &dyn Fn(&mut Shard, &[u8]) -> bool| a[1..].iter().filter(|k| f(&mut store.shard(k), k)).count() as i64;
    match (&name[..size], a.len()) {
        (b"GET", 2) => bulk_or_null(out, live(&store.shard(a[1]), a[1], now)),
        (b"SET", 3..) => set(store, a, now, out),
        (b"PING", 1) => out.extend_from_slice(b"+PONG\r\n"),
        (b"INCR", 2) => incr(store, a[1], now, out),
        (b"DEL", 2..) => integer(out, b':', count(&|s, k| live(s, k, now).is_some() & s.remove(k).is_some())),
        (b"EXISTS", 2..) => integer(out, b':', count(&|s, k| live(s, k, now).is_some())),
        (b"EXPIRE", 3) => expire(store, a, now, out),
        (b"TTL", 2) => {
            let left = live(&store.shard(a[1]), a[1], now).map(|e| if e.expires == 0 { -1 } else { (e.expires - now + 500) / 1000 });
            integer(out, b':', left.unwrap_or(-2));
        }
        (b"MGET", 2..) => {
            integer(out, b'*', a.len() as i64 - 1);
            a[1..].iter().for_each(|k| bulk_or_null(out, live(&store.shard(k), k, now)));
        }
        (b"MSET", n) if n > 2 && n % 2 == 1 => {
            a[1..].chunks(2).for_each(|p| put(&mut store.shard(p[0]), p[0], p[1], 0));
            out.extend_from_slice(b"+OK\r\n");
        }
        (b"DBSIZE", 1) => {
            let mut n = 0;
            store.each(|s| n += s.len());
            integer(out, b':', n as i64);
        }
        (b"FLUSHALL", 1) => {
            store.each(|s| *s = Shard::default());
            out.extend_from_slice(b"+OK\r\n");
        }
        (b"CONFIG", 3) => {
            out.extend_from_slice(b"*2\r\n");
            bulk(out, a[2]);
            bulk(out, if a[2].eq_ignore_ascii_case(b"appendonly") { b"no" } else { b"" });
        }
        _ => error(out, &format!("unknown command or wrong number of arguments: '{}'", String::from_utf8_lossy(a[0]))),
    }
}

/// The number that follows `kind` at `at`, which moves behind its line; none: it is not all there.
fn length(input: &[u8], at: &mut usize, kind: u8, most: usize) -> Result<Option<usize>, &'static str> {
    let Some(&first) = input.get(*at) else { return Ok(None) };
    if first != kind {
        return Err("expected an array of bulk strings");
    }
    let mut n = 0;
    for (i, &c) in input[*at + 1..].iter().enumerate() {
        match c {
            b'0'..=b'9' if n <= most => n = n * 10 + (c - b'0') as usize,
            b'\r' if i > 0 && n <= most => {
                let end = *at + 1 + i + 2;
                return Ok((input.len() >= end).then(|| {
                    *at = end;
                    n
                }));
            }
            _ => return Err("invalid length"),
        }
    }
    Ok(None)
}

/// Where the arguments of the first command are, and its size; none: it is not all there.
fn parse(input: &[u8], places: &mut Vec<Range<usize>>) -> Result<Option<usize>, &'static str> {
    places.clear();
    let mut at = 0;
    let Some(n) = length(input, &mut at, b'*', 1024 * 1024)? else { return Ok(None) };
    for _ in 0..n {
        let Some(size) = length(input, &mut at, b'$', LONGEST)? else { return Ok(None) };
        if input.len() < at + size + 2 {
            return Ok(None);
        }
        places.push(at..at + size);
        at += size + 2;
    }
    Ok(Some(at))
}

async fn serve(mut stream: TcpStream, store: &'static Store) {
    let (mut input, mut out, mut places) = (Vec::with_capacity(8 * 1024), Vec::new(), Vec::new());
    loop {
        if input.capacity() - input.len() < 2 * 1024 {
            input.reserve(8 * 1024);
        }
        if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            return;
        }
        let (now, mut at, mut broken) = (now_ms(), 0, false);
        let mut args: Vec<&[u8]> = Vec::with_capacity(8);
        while at < input.len() {
            match parse(&input[at..], &mut places) {
                Ok(Some(size)) => {
                    args.clear();
                    args.extend(places.iter().map(|p| &input[at + p.start..at + p.end]));
                    if !args.is_empty() {
                        execute(store, &args, now, &mut out);
                    }
                    at += size;
                }
                Ok(None) => break,
                Err(what) => {
                    error(&mut out, &format!("Protocol error: {what}"));
                    broken = true;
                    break;
                }
            }
        }
        input.drain(..at);
        if (!out.is_empty() && stream.write_all(&out).await.is_err()) || broken {
            return;
        }
        out.clear();
    }
}

fn main() {
    let (listener, threads) = rust_peers::start();
    let store: &Store = Box::leak(Box::new(Store((0..SHARDS).map(|_| Mutex::default()).collect())));
    rust_peers::on_tokio(threads, async move {
        let listener = TcpListener::from_std(listener).expect("the socket does not block");
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true); // it may have gone already
            tokio::spawn(serve(stream, store));
        }
    });
}
