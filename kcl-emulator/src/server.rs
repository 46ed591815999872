//! The loopback front: HTTP/1.1 with keep-alive, and HTTP/2 by prior knowledge or, with TLS, by agreement.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Emulator;
use crate::front::{self, Head, ReplyBody};

/// Larger than any request that either service takes: `BatchWriteItem` allows 16 MiB.
const MAX_BODY_BYTES: usize = 32 << 20;
const MAX_CONCURRENT_STREAMS: u32 = 200;

/// An [`Emulator`] on a socket. Signatures are not checked. Dropping it closes every connection at once.
///
/// `GET /health` answers 200.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    certificate: Option<String>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// How a [`Server`] listens.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ServerOptions {
    #[cfg(feature = "tls")]
    tls: bool,
    max_concurrent_streams: Option<u32>,
    max_connection_age: Option<Duration>,
}

impl ServerOptions {
    /// Speak TLS with a certificate of its own making; see [`Server::certificate`]. Default: no TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// `SETTINGS_MAX_CONCURRENT_STREAMS`: requests at once, subscriptions among them, on one HTTP/2 connection.
    /// Default: 200.
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.max_concurrent_streams = Some(streams);
        self
    }

    /// Takes no more requests on a connection of this age: HTTP/2 clients are told by GOAWAY, and what is under way goes on.
    /// Default: connections do not age.
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.max_connection_age = Some(age);
        self
    }
}

/// What every connection is served with.
#[derive(Clone)]
struct Host {
    emulator: Emulator,
    stop: CancellationToken,
    http: auto::Builder<TokioExecutor>,
    max_age: Option<Duration>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Server {
    pub(crate) async fn start(
        emulator: Emulator,
        addr: SocketAddr,
        options: ServerOptions,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http2().max_concurrent_streams(
            options.max_concurrent_streams.unwrap_or(MAX_CONCURRENT_STREAMS),
        );
        #[cfg(feature = "tls")]
        let (tls, certificate) = match options.tls.then(crate::tls::acceptor).transpose()? {
            Some((tls, certificate)) => (Some(tls), Some(certificate)),
            None => (None, None),
        };
        #[cfg(not(feature = "tls"))]
        let certificate = None;
        let host = Host {
            emulator,
            stop: stop.clone(),
            http,
            max_age: options.max_connection_age,
            #[cfg(feature = "tls")]
            tls,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, host));
        Ok(Self { local_addr, certificate, stop, tasks })
    }

    /// The certificate that a client must trust, in PEM; `None` without TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
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

async fn accept(listener: TcpListener, host: Host) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = host.stop.cancelled() => break,
            Some(_closed) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => {
                    connections.spawn(host.clone().serve(stream));
                }
                Err(error) => tracing::warn!(%error, "accept failed"),
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

impl Host {
    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay failed");
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = tls.accept(stream) => accepted,
            };
            match accepted {
                Ok(stream) => self.speak(stream).await,
                Err(error) => tracing::debug!(%error, "no TLS"),
            }
            return;
        }
        self.speak(stream).await;
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self { emulator, stop, http, max_age, .. } = self;
        let ending = stop.clone();
        let service = service_fn(move |request| answer(emulator.clone(), ending.clone(), request));
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            biased;
            result = connection.as_mut() => result,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = aged(max_age) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(error, "connection ended");
        }
    }
}

async fn aged(max_age: Option<Duration>) {
    match max_age {
        Some(age) => tokio::time::sleep(age).await,
        None => std::future::pending().await,
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
