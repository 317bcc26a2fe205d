//! GET /hello from hyper on Tokio, for scripts/bench http to set beside examples/http_echo.
use bytes::Bytes;
use http_body_util::Full;
use hyper::{header, Method, Request, Response, StatusCode};
use std::convert::Infallible;

async fn answer(request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    if request.uri().path() != "/hello" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if request.method() != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    } else {
        let body = serde_json::to_vec(&rust_peers::GREETING).expect("a struct of strings is JSON");
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        *response.body_mut() = Full::new(Bytes::from(body));
    }
    Ok(response)
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
