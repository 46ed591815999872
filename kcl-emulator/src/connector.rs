//! The in-process front: an HTTP client for the AWS SDK that has no network behind it.

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;

use crate::Emulator;
use crate::front::{self, Head};

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
    let response =
        front::respond(emulator, head, &body).await.map_err(|e| ConnectorError::io(e.into()))?;
    let response =
        response.map(|body| body.into_bytes().map_or_else(SdkBody::from_body_1_x, SdkBody::from));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}
