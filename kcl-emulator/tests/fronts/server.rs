//! The loopback server by bare HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_emulator::{Emulator, Fault, Rule, Server};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const JSON: &str = "application/x-amz-json-1.0";
const CBOR: &str = "application/x-amz-cbor-1.1";
const LIST_TABLES: &str = "DynamoDB_20120810.ListTables";

async fn start(emulator: &Emulator) -> Server {
    emulator.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap()
}

fn post(target: Option<&str>, content_type: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::post("/").header("host", "localhost");
    request = request.header("content-type", content_type);
    if let Some(target) = target {
        request = request.header("x-amz-target", target);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// One keep-alive connection.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    async fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        Self { sender, _driver: driver }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<(StatusCode, String)> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

#[tokio::test]
async fn it_answers_what_it_knows_and_refuses_the_rest() {
    let emulator = Emulator::builder().build();
    let server = start(&emulator).await;
    let mut connection = Connection::open(&server).await;
    let get = |path: &str| Request::get(path).body(Full::default()).unwrap();
    let unknown = r#"{"__type":"UnknownOperationException"}"#;
    let unknown_to_dynamodb = r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
    for (request, status, body) in [
        (get("/health"), 200, "ok\n"),
        (get("/"), 404, "<UnknownOperationException/>\n"),
        (post(None, JSON, "{}"), 400, unknown),
        (post(Some("S3.ListBuckets"), JSON, "{}"), 400, unknown),
        (post(Some("ListTables"), JSON, "{}"), 400, unknown),
        (post(Some("DynamoDB_20120810.Nothing"), JSON, "{}"), 400, unknown_to_dynamodb),
        (post(Some(LIST_TABLES), "text/plain", "{}"), 400, unknown_to_dynamodb),
        (post(Some(LIST_TABLES), JSON, "{}"), 200, r#"{"TableNames":[]}"#),
        (
            post(Some(LIST_TABLES), JSON, "{"),
            400,
            r#"{"__type":"com.amazon.coral.service#SerializationException"}"#,
        ),
    ] {
        let got = connection.send(request).await.unwrap();
        assert_eq!((got.0.as_u16(), got.1.as_str()), (status, body));
    }
    // Kinesis speaks CBOR, DynamoDB does not.
    let cbor = post(Some(LIST_TABLES), CBOR, "");
    assert_eq!(connection.send(cbor).await.unwrap().0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let cbor = post(Some("Kinesis_20131202.ListStreams"), CBOR, &b"\xa0"[..]);
    assert_eq!(connection.send(cbor).await.unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn bodies_may_be_as_large_as_the_services_allow_but_not_endless() {
    let emulator = Emulator::builder().build();
    let server = start(&emulator).await;
    let padded = |size: usize| post(Some(LIST_TABLES), JSON, "{}".to_owned() + &" ".repeat(size));
    let mut connection = Connection::open(&server).await;
    assert_eq!(connection.send(padded(16 << 20)).await.unwrap().0, StatusCode::OK);
    // Refused by an answer, or by closing while the client still writes.
    match connection.send(padded(33 << 20)).await {
        Ok((status, _)) => assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    assert_eq!(emulator.counts()["dynamodb:ListTables"], 1);
}

#[tokio::test]
async fn it_speaks_http2_without_tls() {
    let emulator = Emulator::builder().build();
    let server = start(&emulator).await;
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut request = post(Some(LIST_TABLES), JSON, "{}");
    *request.uri_mut() = format!("http://{}/", server.local_addr()).parse().unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], JSON);
}

#[tokio::test]
async fn a_graceful_stop_answers_what_is_under_way() {
    let emulator = Emulator::builder().build();
    emulator.faults().add(Rule::new(Fault::LateReply(Duration::from_millis(300))));
    let server = start(&emulator).await;
    let address = server.local_addr();
    let mut idle = Connection::open(&server).await;
    idle.send(Request::get("/health").body(Full::default()).unwrap()).await.unwrap();
    let mut busy = Connection::open(&server).await;
    let answer = busy.send(post(Some(LIST_TABLES), JSON, "{}"));
    let stop = async {
        while emulator.counts().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.stop().await;
    };
    let (answer, ()) = tokio::join!(answer, stop);
    assert_eq!(answer.unwrap().0, StatusCode::OK);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_it_closes_everything() {
    let emulator = Emulator::builder().build();
    let server = start(&emulator).await;
    let mut connection = Connection::open(&server).await;
    connection.send(post(Some(LIST_TABLES), JSON, "{}")).await.unwrap();
    drop(server);
    connection.send(post(Some(LIST_TABLES), JSON, "{}")).await.unwrap_err();
}
