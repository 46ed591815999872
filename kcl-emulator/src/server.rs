//! The loopback front: HTTP/1.1 with keep-alive, and HTTP/2 without TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Emulator;
use crate::front::{self, Head, ReplyBody};

/// Larger than any request that either service takes: `BatchWriteItem` allows 16 MiB.
const MAX_BODY_BYTES: usize = 32 << 20;

/// An [`Emulator`] on a socket. Signatures are not checked. Dropping it closes every connection at once.
///
/// `GET /health` answers 200.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(emulator: Emulator, addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, emulator, stop.clone()));
        Ok(Self { local_addr, stop, tasks })
    }

    /// The address that the server listens on, with the port that the system chose for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes no new connection, answers the requests under way, ends streams of events, and returns when all
    /// connections are closed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, emulator: Emulator, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_closed) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => {
                    connections.spawn(serve(stream, emulator.clone(), stop.clone()));
                }
                Err(error) => tracing::warn!(%error, "accept failed"),
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, emulator: Emulator, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay failed");
    }
    let ending = stop.clone();
    let service = service_fn(move |request| answer(emulator.clone(), ending.clone(), request));
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error, "connection ended");
    }
}

async fn answer(
    emulator: Emulator,
    stop: CancellationToken,
    request: Request<Incoming>,
) -> io::Result<Response<ReplyBody>> {
    let (parts, body) = request.into_parts();
    if parts.method == Method::GET && parts.uri.path() == "/health" {
        return Ok(plain(StatusCode::OK, "ok\n"));
    }
    if parts.method != Method::POST {
        return Ok(plain(StatusCode::NOT_FOUND, "<UnknownOperationException/>\n"));
    }
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n"));
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    let head = Head::new(|name| parts.headers.get(name).and_then(|value| value.to_str().ok()));
    let response = front::respond(&emulator, head, &body).await?;
    tracing::debug!(
        target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()),
        status = response.status().as_u16(),
        "answered"
    );
    Ok(response.map(|body| body.until(stop)))
}

fn plain(status: StatusCode, text: &'static str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(text));
    *response.status_mut() = status;
    response
}
