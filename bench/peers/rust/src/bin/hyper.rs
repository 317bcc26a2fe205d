//! GET /hello, GET /hello/{name} and POST /echo from hyper on Tokio, for scripts/bench http to set beside examples/http_echo.
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{header, Method, Request, Response, StatusCode};
use std::convert::Infallible;

fn with_body(kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn with_status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn greet(greeting: &rust_peers::Greeting) -> Response<Full<Bytes>> {
    with_body("application/json", Bytes::from(serde_json::to_vec(greeting).expect("a struct of strings is JSON")))
}

async fn answer(request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let get = request.method() == Method::GET;
    Ok(match request.uri().path() {
        "/hello" if get => greet(&rust_peers::GREETING),
        "/echo" if request.method() == Method::POST => match request.into_body().collect().await {
            Ok(body) => with_body("application/octet-stream", body.to_bytes()),
            Err(_) => with_status(StatusCode::BAD_REQUEST),
        },
        "/hello" | "/echo" => with_status(StatusCode::METHOD_NOT_ALLOWED),
        path => match path.strip_prefix("/hello/") {
            Some(name) if get && !name.contains('/') => greet(&rust_peers::greeting(name)),
            _ => with_status(StatusCode::NOT_FOUND),
        },
    })
}

fn main() {
    let (listener, threads) = rust_peers::start();
    rust_peers::on_tokio(threads, async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the socket does not block");
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true); // it may have gone already
            tokio::spawn(async move {
                // An error is a client that went away; there is nobody to tell.
                let _ = hyper::server::conn::http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), hyper::service::service_fn(answer))
                    .await;
            });
        }
    });
}
