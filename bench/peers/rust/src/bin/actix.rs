//! GET /hello, GET /hello/{name} and POST /echo from actix-web, which has an event loop a thread, for scripts/bench http to set beside
//! examples/http_echo.
use actix_web::{web, App, HttpServer, Responder};

async fn hello() -> impl Responder {
    web::Json(rust_peers::GREETING)
}

async fn hello_name(name: web::Path<String>) -> impl Responder {
    web::Json(rust_peers::greeting(&name))
}

async fn echo(body: web::Bytes) -> impl Responder {
    body
}

fn main() -> std::io::Result<()> {
    let (listener, threads) = rust_peers::start();
    actix_web::rt::System::new().block_on(
        HttpServer::new(|| {
            App::new()
                .route("/hello", web::get().to(hello))
                .route("/hello/{name}", web::get().to(hello_name))
                .route("/echo", web::post().to(echo))
        })
            .workers(threads)
            .disable_signals()
            .listen(listener)?
            .run(),
    )
}
