//! Sharing shards through a DynamoDB table.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_types::SdkConfig;
use kcl_core::leasing::{Leases, LeasingError, Member, Membership};

use crate::coordinator;
use crate::store::{DynamoStore, TablePolicy};

/// Shares the shards among workers through a DynamoDB table that the Java KCL 2.x could take over, and the reverse.
///
/// The settings say how the table is found and called; when leases expire is the worker's business.
#[derive(Debug, Clone)]
pub struct DynamoLeases {
    client: Client,
    table: TablePolicy,
    table_name: Option<String>,
    call_timeout: Duration,
    consistent_scans: bool,
}

impl DynamoLeases {
    /// Calls DynamoDB with this region, these credentials and this HTTP client.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self::from_client(Client::new(config))
    }

    /// Calls DynamoDB as this client does, but never retries by itself: the coordinator does, where a repeated call is
    /// right.
    #[must_use]
    pub fn from_client(client: Client) -> Self {
        Self {
            client,
            table: TablePolicy::default(),
            table_name: None,
            call_timeout: DynamoStore::DEFAULT_CALL_TIMEOUT,
            consistent_scans: false,
        }
    }

    /// What to do when the table does not exist. Default: create it, billed on demand.
    #[must_use]
    pub fn table(mut self, policy: TablePolicy) -> Self {
        self.table = policy;
        self
    }

    /// The table's name. Default: the application's.
    #[must_use]
    pub fn table_name(mut self, name: impl Into<String>) -> Self {
        self.table_name = Some(name.into());
        self
    }

    /// How long one call to DynamoDB may take. Default: 3 s. See [`DynamoStore::call_timeout`].
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Whether scans read strongly consistently. Default: no. See [`DynamoStore::consistent_scans`].
    #[must_use]
    pub fn consistent_scans(mut self, consistent: bool) -> Self {
        self.consistent_scans = consistent;
        self
    }

    fn store(&self, member: &Member) -> DynamoStore {
        let application = || member.application.to_string();
        DynamoStore::new(&self.client, self.table_name.clone().unwrap_or_else(application))
            .table_policy(self.table.clone())
            .call_timeout(self.call_timeout)
            .consistent_scans(self.consistent_scans)
    }
}

#[async_trait]
impl Leases for DynamoLeases {
    async fn join(&self, member: Member) -> Result<Membership, LeasingError> {
        coordinator::join(Arc::new(self.store(&member)), member).await
    }
}
