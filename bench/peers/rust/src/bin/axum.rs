//! GET /hello from axum, for scripts/bench http to set beside examples/http_echo.
use axum::serve::ListenerExt;
use axum::{routing::get, Json, Router};

async fn hello() -> Json<rust_peers::Greeting> {
    Json(rust_peers::GREETING)
}

fn main() {
    let (listener, threads) = rust_peers::start();
    rust_peers::on_tokio(threads, async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the socket does not block").tap_io(|stream| {
            let _ = stream.set_nodelay(true); // it may have gone already
        });
        axum::serve(listener, Router::new().route("/hello", get(hello))).await.expect("serve does not return");
    });
}
