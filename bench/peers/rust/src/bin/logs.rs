//! The work of examples/log_pipeline in Rust: the same stages, messages, buffers and files.
//!
//! usage: logs [--line] [--threads N] INPUT FOLDER
//!
//! Blocks of 256 KB come from a free list; parsers may overtake each other, and a router takes their blocks up in order; lines are
//! gathered by service and written 64 KB at a time. With --line a message is a line. Tasks on Tokio, channels by kanal, JSON by
//! sonic-rs into a struct of the two members that matter: the quickest that were found. Files are read and written in the tasks, since
//! Tokio's own go through a pool of threads and take longer.
use kanal::{bounded_async, AsyncReceiver, AsyncSender};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const BLOCK_BYTES: usize = 256 * 1024;
const WRITE_BYTES: usize = 64 * 1024;
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
const LEAST: usize = 3;

#[derive(Deserialize)]
struct Event<'a> {
    level: &'a str,
    service: &'a str,
}

/// Where a line goes, or none if it is below the level.
fn route(line: &[u8]) -> Option<&str> {
    let Ok(e) = sonic_rs::from_slice::<Event>(line) else { return Some("rejected") };
    match LEVELS.iter().position(|l| *l == e.level) {
        Some(level) if !e.service.is_empty() => (level >= LEAST).then_some(e.service),
        _ => Some("rejected"),
    }
}

#[derive(Default)]
struct Counts {
    lines: AtomicU64,
    below: AtomicU64,
}

/// Reads whole lines into `room` and returns their size; 0 at the end. What was read beyond them is kept in `begun`.
fn fill(input: &mut File, room: &mut Vec<u8>, begun: &mut Vec<u8>) -> usize {
    room.resize(room.len().max(BLOCK_BYTES), 0);
    room[..begun.len()].copy_from_slice(begun);
    let mut have = begun.len();
    loop {
        if have == room.len() {
            room.resize(2 * have, 0);
        }
        let n = input.read(&mut room[have..]).unwrap_or_else(|e| fail(&e.to_string()));
        if n == 0 {
            begun.clear();
            if have > 0 {
                room.truncate(have);
                room.push(b'\n');
                have += 1;
            }
            return have;
        }
        if let Some(end) = memchr::memrchr(b'\n', &room[have..have + n]) {
            let size = have + end + 1;
            begun.clear();
            begun.extend_from_slice(&room[size..have + n]);
            return size;
        }
        have += n;
    }
}

fn create(folder: &Path, service: &str) -> File {
    File::create(folder.join(format!("{service}.log"))).unwrap_or_else(|e| fail(&format!("{service}.log: {e}")))
}

struct Block {
    room: Vec<u8>,
    size: usize,
    number: usize,
    /// Begin and end of a line, begin and size of its service in `names`.
    records: Vec<(u32, u32, u32, u16)>,
    names: String,
    below: u64,
    lines: u64,
}

impl Block {
    fn parse(&mut self) {
        (self.below, self.lines) = (0, 0);
        self.records.clear();
        self.names.clear();
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', &self.room[..self.size]) {
            self.lines += 1;
            match route(&self.room[begin..end]) {
                Some(service) => {
                    self.records.push((begin as u32, end as u32 + 1, self.names.len() as u32, service.len() as u16));
                    self.names.push_str(service);
                }
                None => self.below += 1,
            }
            begin = end + 1;
        }
    }
}

async fn by_block(mut input: File, folder: PathBuf, parsers: usize, counts: Arc<Counts>) {
    let blocks = 2 * parsers + 6;
    let (free_in, free) = bounded_async::<Box<Block>>(blocks);
    for _ in 0..blocks {
        let b = Block { room: vec![0; BLOCK_BYTES], size: 0, number: 0, records: vec![], names: String::new(), below: 0, lines: 0 };
        free_in.send(Box::new(b)).await.expect("the list has room");
    }
    let (filled_in, filled) = bounded_async::<Box<Block>>(blocks);
    let reader = tokio::spawn(async move {
        let mut begun = Vec::new();
        let mut number = 0;
        while let Ok(mut b) = free.recv().await {
            b.size = fill(&mut input, &mut b.room, &mut begun);
            b.number = number;
            number += 1;
            if b.size == 0 || filled_in.send(b).await.is_err() {
                break;
            }
        }
    });
    let (parsed_in, parsed) = bounded_async::<Box<Block>>(blocks);
    for _ in 0..parsers {
        let (filled, parsed_in) = (filled.clone(), parsed_in.clone());
        tokio::spawn(async move {
            while let Ok(mut b) = filled.recv().await {
                b.parse();
                parsed_in.send(b).await.expect("the router stays to the end");
            }
        });
    }
    drop(parsed_in);

    struct Target {
        text: Vec<u8>,
        full: AsyncSender<Vec<u8>>,
    }
    let (spare_in, spare) = bounded_async::<Vec<u8>>(16);
    let mut targets: FxHashMap<String, Target> = FxHashMap::default();
    let mut writers = Vec::new();
    let mut early: Vec<Option<Box<Block>>> = (0..blocks).map(|_| None).collect();
    let mut next = 0;
    while let Ok(b) = parsed.recv().await {
        let place = b.number % blocks;
        early[place] = Some(b);
        while let Some(b) = early[next % blocks].take() {
            next += 1;
            for &(begin, end, name, size) in &b.records {
                let service = &b.names[name as usize..name as usize + size as usize];
                if !targets.contains_key(service) {
                    let (full, texts) = bounded_async::<Vec<u8>>(2);
                    targets.insert(service.to_string(), Target { text: Vec::with_capacity(WRITE_BYTES + 4096), full });
                    let (mut file, spare_in) = (create(&folder, service), spare_in.clone());
                    writers.push(tokio::spawn(async move {
                        while let Ok(mut text) = texts.recv().await {
                            file.write_all(&text).unwrap_or_else(|e| fail(&e.to_string()));
                            text.clear();
                            let _ = spare_in.try_send(text); // else it is freed
                        }
                    }));
                }
                let t = targets.get_mut(service).expect("it has just been made");
                t.text.extend_from_slice(&b.room[begin as usize..end as usize]);
                if t.text.len() >= WRITE_BYTES {
                    let empty = spare.try_recv().ok().flatten().unwrap_or_default();
                    let full = std::mem::replace(&mut t.text, empty);
                    t.full.send(full).await.expect("a writer stays to the end");
                }
            }
            counts.lines.fetch_add(b.lines, Ordering::Relaxed);
            counts.below.fetch_add(b.below, Ordering::Relaxed);
            let _ = free_in.send(b).await; // the reader has ended: no one takes it
        }
    }
    for (_, t) in targets {
        t.full.send(t.text).await.expect("a writer stays to the end");
    }
    for w in writers {
        w.await.expect("a writer does not panic");
    }
    reader.await.expect("the reader does not panic");
}

/// Gives its room back when the last of its lines is gone.
struct Text {
    room: Vec<u8>,
    free: AsyncSender<Vec<u8>>,
}

struct Line {
    of: Arc<Text>,
    begin: u32,
    end: u32,
}

impl Line {
    fn bytes(&self) -> &[u8] {
        &self.of.room[self.begin as usize..self.end as usize]
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let _ = self.free.try_send(std::mem::take(&mut self.room)); // the reader may have ended
    }
}

async fn by_line(mut input: File, folder: PathBuf, parsers: usize, counts: Arc<Counts>) {
    let blocks = 2 * parsers + 6;
    let (free_in, free) = bounded_async::<Vec<u8>>(blocks);
    for _ in 0..blocks {
        free_in.send(vec![0; BLOCK_BYTES]).await.expect("the list has room");
    }
    let (lines_in, lines) = bounded_async::<Line>(1024);
    tokio::spawn(async move {
        let mut begun = Vec::new();
        while let Ok(mut room) = free.recv().await {
            let size = fill(&mut input, &mut room, &mut begun);
            if size == 0 {
                break;
            }
            let of = Arc::new(Text { room, free: free_in.clone() });
            let mut begin = 0;
            for end in memchr::memchr_iter(b'\n', &of.room[..size]) {
                let line = Line { of: of.clone(), begin, end: end as u32 + 1 };
                lines_in.send(line).await.expect("the parsers stay to the end");
                begin = end as u32 + 1;
            }
        }
    });
    let channels: Arc<Mutex<FxHashMap<String, AsyncSender<Line>>>> = Arc::default();
    let writers = Arc::new(Mutex::new(Vec::new()));
    let mut parsing = Vec::new();
    for _ in 0..parsers {
        let (lines, channels, writers) = (lines.clone(), channels.clone(), writers.clone());
        let (folder, counts) = (folder.clone(), counts.clone());
        parsing.push(tokio::spawn(async move {
            let mut known: FxHashMap<String, AsyncSender<Line>> = FxHashMap::default();
            let (mut n, mut below) = (0, 0);
            while let Ok(line) = lines.recv().await {
                n += 1;
                let to = match route(&line.bytes()[..line.bytes().len() - 1]) {
                    None => {
                        below += 1;
                        continue;
                    }
                    Some(service) => match known.get(service) {
                        Some(to) => to,
                        None => {
                            let mut all = channels.lock().expect("nobody panics under it");
                            let to = all.entry(service.to_string()).or_insert_with(|| {
                                let (to, from) = bounded_async::<Line>(1024);
                                let file = create(&folder, service);
                                writers.lock().expect("nobody panics under it").push(tokio::spawn(write(from, file)));
                                to
                            });
                            known.entry(service.to_string()).or_insert(to.clone())
                        }
                    },
                };
                to.send(line).await.expect("a writer stays to the end");
            }
            counts.lines.fetch_add(n, Ordering::Relaxed);
            counts.below.fetch_add(below, Ordering::Relaxed);
        }));
    }
    for p in parsing {
        p.await.expect("a parser does not panic");
    }
    channels.lock().expect("nobody panics under it").clear();
    let all = std::mem::take(&mut *writers.lock().expect("nobody panics under it"));
    for w in all {
        w.await.expect("a writer does not panic");
    }
}

async fn write(from: AsyncReceiver<Line>, mut file: File) {
    let mut text = Vec::with_capacity(WRITE_BYTES + 4096);
    while let Ok(line) = from.recv().await {
        text.extend_from_slice(line.bytes());
        if text.len() >= WRITE_BYTES {
            file.write_all(&text).unwrap_or_else(|e| fail(&e.to_string()));
            text.clear();
        }
    }
    file.write_all(&text).unwrap_or_else(|e| fail(&e.to_string()));
}

fn fail(what: &str) -> ! {
    eprintln!("logs: {what}");
    std::process::exit(1)
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() {
    let (mut per_line, mut threads, mut places) = (false, 0, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(a) = arguments.next() {
        match a.as_str() {
            "--line" => per_line = true,
            "--threads" => threads = arguments.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| fail("--threads needs a number")),
            _ => places.push(PathBuf::from(a)),
        }
    }
    let [input, folder] = places.try_into().unwrap_or_else(|_| fail("usage: logs [--line] [--threads N] INPUT FOLDER"));
    if threads == 0 {
        threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    }
    let file = File::open(&input).unwrap_or_else(|e| fail(&format!("{}: {e}", input.display())));
    std::fs::create_dir_all(&folder).unwrap_or_else(|e| fail(&format!("{}: {e}", folder.display())));
    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    let work = counts.clone();
    rust_peers::on_tokio(threads, async move {
        if per_line {
            by_line(file, folder, threads, work).await
        } else {
            by_block(file, folder, threads, work).await
        }
    });
    println!(
        "{} lines in {} s, at most {} MB of memory\n{} below the level",
        counts.lines.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
        peak_megabytes(),
        counts.below.load(Ordering::Relaxed)
    );
}
