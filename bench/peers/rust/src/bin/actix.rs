//! GET /hello from actix-web, which has an event loop a thread, for scripts/bench http to set beside examples/http_echo.
use actix_web::{web, App, HttpServer, Responder};

async fn hello() -> impl Responder {
    web::Json(rust_peers::GREETING)
}

fn main() -> std::io::Result<()> {
    let (listener, threads) = rust_peers::start();
    actix_web::rt::System::new().block_on(
        HttpServer::new(|| App::new().route("/hello", web::get().to(hello)))
            .workers(threads)
            .disable_signals()
            .listen(listener)?
            .run(),
    )
}
