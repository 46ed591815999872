//! The in-process front: an HTTP client for the AWS SDK that has no network behind it.

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::Response;
use http_body_util::BodyExt;

use crate::front::{self, Head, ReplyBody};
use crate::{Delivery, Emulator};

/// Carries an SDK client's requests to an [`Emulator`] in the same process, on the caller's task.
///
/// Nothing is spawned and no socket is opened, so a paused tokio clock stays in charge.
#[derive(Debug, Clone)]
pub struct InProcess {
    emulator: Emulator,
}

impl InProcess {
    pub(crate) fn new(emulator: Emulator) -> Self {
        Self { emulator }
    }

    /// A delivery as the SDK meets it, for a client of one's own with faults of its own (see [`Emulator::reply`]).
    ///
    /// # Errors
    /// If the connection broke before there was a reply.
    pub fn hand_over(&self, delivery: Delivery) -> Result<HttpResponse, ConnectorError> {
        let response = front::hand_over(&self.emulator, delivery);
        to_sdk(response.map_err(|error| ConnectorError::io(error.into()))?)
    }
}

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("kcl-emulator", None))
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let emulator = self.emulator.clone();
        HttpConnectorFuture::new(async move { exchange(&emulator, request).await })
    }
}

async fn exchange(
    emulator: &Emulator,
    mut request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let body = request.take_body().collect().await.map_err(ConnectorError::user)?.to_bytes();
    let head = Head::new(|name| request.headers().get(name));
    let response = front::respond(emulator, head, &body).await;
    to_sdk(response.map_err(|error| ConnectorError::io(error.into()))?)
}

fn to_sdk(response: Response<ReplyBody>) -> Result<HttpResponse, ConnectorError> {
    let response =
        response.map(|body| body.into_bytes().map_or_else(SdkBody::from_body_1_x, SdkBody::from));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}
