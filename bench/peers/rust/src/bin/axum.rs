//! GET /hello, GET /hello/{name} and POST /echo from axum, for scripts/bench http to set beside examples/http_echo.
use axum::serve::ListenerExt;
use axum::{
    body::Bytes,
    extract::Path,
    routing::{get, post},
    Json, Router,
};

async fn hello() -> Json<rust_peers::Greeting> {
    Json(rust_peers::GREETING)
}

async fn hello_name(Path(name): Path<String>) -> Json<rust_peers::Greeting> {
    Json(rust_peers::greeting(&name))
}

async fn echo(body: Bytes) -> Bytes {
    body
}

fn main() {
    let (listener, threads) = rust_peers::start();
    rust_peers::on_tokio(threads, async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the socket does not block").tap_io(|stream| {
            let _ = stream.set_nodelay(true); // it may have gone already
        });
        let routes = Router::new()
            .route("/hello", get(hello))
            .route("/hello/{name}", get(hello_name))
            .route("/echo", post(echo));
        axum::serve(listener, routes).await.expect("serve does not return");
    });
}
