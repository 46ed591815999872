//! The server over TLS, and the streams that one connection of HTTP/2 may carry.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_emulator::{Emulator, Fault, Rule, Server, ServerOptions};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

async fn start(emulator: &Emulator, options: ServerOptions) -> Server {
    emulator.serve_with(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), options).await.unwrap()
}

fn client(emulator: &Emulator, server: &Server, trust: TrustStore) -> Client {
    let context = TlsContext::builder().with_trust_store(trust).build().unwrap();
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https();
    let config = emulator.sdk_config().into_builder().http_client(http);
    Client::new(&config.endpoint_url(format!("https://{}", server.local_addr())).build())
}

#[tokio::test]
async fn the_sdk_speaks_tls_to_who_trusts_the_certificate() {
    let emulator = Emulator::builder().build();
    let server = start(&emulator, ServerOptions::default().tls()).await;
    let certificate = server.certificate().unwrap().to_owned();
    let trusting =
        client(&emulator, &server, TrustStore::empty().with_pem_certificate(certificate));
    crate::fanout::life_of_a_consumer(&trusting).await;
    let wary = client(&emulator, &server, TrustStore::default());
    wary.list_streams().send().await.unwrap_err();
    server.stop().await;
}

#[tokio::test]
async fn one_connection_carries_as_many_streams_as_it_may() {
    let wait = Duration::from_millis(400);
    for (streams, least, most) in [(1, 3 * wait, 30 * wait), (3, wait, 3 * wait)] {
        let emulator = Emulator::builder().build();
        let server =
            start(&emulator, ServerOptions::default().max_concurrent_streams(streams)).await;
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let ask = async || {
            let request = Request::post(format!("http://{}/", server.local_addr()))
                .header("x-amz-target", "Kinesis_20131202.ListStreams")
                .header("content-type", "application/x-amz-json-1.1")
                .body(Full::new(Bytes::from("{}")));
            let response = sender.clone().send_request(request.unwrap()).await.unwrap();
            assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        };
        // By then the server's settings have arrived.
        ask().await;
        emulator.faults().add(Rule::new(Fault::LateReply(wait)));
        #[expect(clippy::disallowed_methods, reason = "a socket runs in real time")]
        let start = Instant::now();
        tokio::join!(ask(), ask(), ask());
        let elapsed = start.elapsed();
        assert!((least..most).contains(&elapsed), "{streams} at once: {elapsed:?}");
    }
}
