//! What the servers hyper, axum and actix share: their command line and their answers.
//!
//! usage: hyper|axum|actix [--listen HOST:PORT] [--threads N]   (port 0: a free one; 0 threads: one for each CPU)
use serde::Serialize;
use std::borrow::Cow;
use std::net::{SocketAddr, TcpListener};

#[derive(Serialize)]
pub struct Greeting {
    pub message: Cow<'static, str>,
}

pub const GREETING: Greeting = Greeting { message: Cow::Borrowed("hello world") };

pub fn greeting(name: &str) -> Greeting {
    Greeting { message: Cow::Owned(format!("hello {name}")) }
}

/// The listening socket, which does not block, and the number of threads. Says where it listens.
pub fn start() -> (TcpListener, usize) {
    let mut address: SocketAddr = ([127, 0, 0, 1], 8080).into();
    let mut threads = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| fail(&format!("{name} needs a value")));
        match name.as_str() {
            "--listen" => address = value.parse().unwrap_or_else(|_| fail(&format!("{value} is not of the form address:port"))),
            "--threads" => threads = value.parse().unwrap_or_else(|_| fail(&format!("{value} is not a number"))),
            _ => fail(&format!("{name} is no option")),
        }
    }
    if threads == 0 {
        threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    }
    let listener = listen(address).unwrap_or_else(|e| fail(&format!("{address}: {e}")));
    println!("listening on {}", listener.local_addr().expect("a bound socket has an address"));
    (listener, threads)
}

/// With the backlog that ten thousand connections at once need; std's is 128 on some systems.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _within = runtime.enter();
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)?.into_std()
}

/// Runs `serve` on a runtime of so many workers, one: the current thread's; as a task, since what block_on runs is no worker's.
pub fn on_tokio<F>(threads: usize, serve: F)
where
    F: std::future::Future<Output = ()> + Send + 'static,
{
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder
        .enable_io()
        .build()
        .unwrap_or_else(|e| fail(&format!("no runtime: {e}")));
    runtime.block_on(async { tokio::spawn(serve).await.expect("the server does not panic") });
}

pub fn fail(what: &str) -> ! {
    eprintln!("{what}");
    std::process::exit(2)
}
