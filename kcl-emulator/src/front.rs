//! What both fronts share: from the parts of an HTTP request to an HTTP response.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::{Emulator, Reply, Service};

/// The headers of a request that decide how it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// `Content-Type`.
    pub(crate) content_type: Option<&'a str>,
    /// `X-Amz-Target`.
    pub(crate) target: Option<&'a str>,
}

/// Answers one request.
pub(crate) async fn respond(emulator: &Emulator, head: Head<'_>, body: &[u8]) -> Response<Bytes> {
    let service = head
        .target
        .and_then(Service::parse_target)
        .map(|(service, _)| service);
    let reply = match (Encoding::parse(head.content_type), head.target) {
        (Encoding::Json, Some(target)) => emulator.call(target, body).await,
        (Encoding::Cbor, _) => error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaTypeException",
            Some("CBOR bodies are not supported, switch the client to JSON"),
        ),
        (Encoding::Unknown, _) | (Encoding::Json, None) => unknown_operation(),
    };
    response(
        service.unwrap_or(Service::Kinesis),
        emulator.request_id(),
        reply,
    )
}

/// AWS's answer to an operation or a service that it does not know.
pub(crate) fn unknown_operation() -> Reply {
    error(StatusCode::BAD_REQUEST, "UnknownOperationException", None)
}

fn error(status: StatusCode, name: &str, message: Option<&str>) -> Reply {
    let mut body = serde_json::json!({ "__type": name });
    if let Some(message) = message {
        body["message"] = message.into();
    }
    let body = body.to_string().into();
    Reply {
        status: status.as_u16(),
        error: Some(name.to_owned()),
        body,
    }
}

fn response(service: Service, request_id: String, reply: Reply) -> Response<Bytes> {
    let mut response = Response::new(reply.body);
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(service.content_type()),
    );
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(Ok(error)) = reply.error.map(HeaderValue::try_from) {
        headers.insert("x-amzn-errortype", error);
    }
    response
}

/// How a request's body is written.
enum Encoding {
    Json,
    Cbor,
    Unknown,
}

impl Encoding {
    fn parse(content_type: Option<&str>) -> Self {
        let essence = content_type
            .and_then(|value| value.split(';').next())
            .map(str::trim);
        match essence {
            None
            | Some(
                "application/x-amz-json-1.0" | "application/x-amz-json-1.1" | "application/json",
            ) => Self::Json,
            Some("application/cbor" | "application/x-amz-cbor-1.1") => Self::Cbor,
            Some(_) => Self::Unknown,
        }
    }
}
