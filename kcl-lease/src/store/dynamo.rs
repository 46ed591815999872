//! Leases in a DynamoDB table, in the format of the Java KCL 2.x.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use kcl_core::WorkerId;
use kcl_core::leasing::LeasingError;

use self::error::store_error;
use self::expression::{Condition, Update};
use super::{
    Change, Consistency, LeaseStore, Outcome, Scan, StoreError, StoreErrorKind, TablePolicy, table,
};
use crate::item::{self, Item};
use crate::{Fence, Lease, LeaseKey};

pub(super) mod error;
mod expression;

/// Leases in a DynamoDB table, one item each, in the format of the Java KCL 2.x.
///
/// Every write is conditional on counter and owner as they were last seen, and goes out exactly once: the SDK's retries are
/// off for this store, because a repeated write that had been applied would look like a rival's. Nothing but
/// [`create`](LeaseStore::create) writes a whole item, so attributes that others added survive.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
    policy: TablePolicy,
    consistent_scans: bool,
}

impl DynamoStore {
    /// How long a request may take by default, from credentials to the last byte: 3 s.
    pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(3);

    /// The leases in `table`, reached with the region, credentials and HTTP client of `client`.
    #[must_use]
    pub fn new(client: &Client, table: impl Into<String>) -> Self {
        Self {
            client: reined(client, Self::DEFAULT_CALL_TIMEOUT),
            table: table.into(),
            policy: TablePolicy::default(),
            consistent_scans: false,
        }
    }

    /// What to do when the table does not exist. Default: create it.
    #[must_use]
    pub fn table_policy(mut self, policy: TablePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long a request may take, from credentials to the last byte. Keep it well below the lease duration, or one hung
    /// request costs the lease; and above what your credentials provider needs to refresh. Default:
    /// [`DEFAULT_CALL_TIMEOUT`](Self::DEFAULT_CALL_TIMEOUT).
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.client = reined(&self.client, timeout);
        self
    }

    /// Whether all scans read strongly consistently, for twice the read capacity. Default: only those that look for missing
    /// leases; elsewhere a stale view costs at most a conflict.
    #[must_use]
    pub fn consistent_scans(mut self, consistent: bool) -> Self {
        self.consistent_scans = consistent;
        self
    }
}

#[async_trait]
impl LeaseStore for DynamoStore {
    fn name(&self) -> &str {
        &self.table
    }

    async fn prepare(&self) -> Result<(), LeasingError> {
        table::ensure(&self.client, &self.table, &self.policy).await
    }

    async fn scan(&self, consistency: Consistency) -> Result<Scan, StoreError> {
        let consistent = self.consistent_scans || consistency == Consistency::Strong;
        let (mut scan, mut leases) = (Scan::default(), BTreeMap::new());
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .consistent_read(consistent)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| store_error("Scan", error))?;
            for item in page.items() {
                match item::decode(item) {
                    Item::Lease(lease) => {
                        leases.insert(lease.key.clone(), *lease);
                    }
                    Item::Foreign => scan.foreign += 1,
                    Item::Unreadable { key, reason } => scan.unreadable.push((key, reason)),
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                scan.leases = leases.into_values().collect();
                return Ok(scan);
            }
        }
    }

    async fn read(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(item::KEY, item::text(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| store_error("GetItem", error))?;
        let invalid = |reason| Err(StoreError::new("GetItem", StoreErrorKind::Invalid, reason));
        match answer.item.as_ref().map(item::decode) {
            None => Ok(None),
            Some(Item::Lease(lease)) => Ok(Some(*lease)),
            Some(Item::Foreign) => invalid("item is not a lease".to_owned()),
            Some(Item::Unreadable { reason, .. }) => invalid(reason),
        }
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        let written = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::encode(lease)))
            .condition_expression("attribute_not_exists(leaseKey)")
            .send()
            .await;
        match written {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(store_error("PutItem", error)),
            },
        }
    }

    async fn update(
        &self,
        key: &LeaseKey,
        fence: &Fence,
        change: &Change,
    ) -> Result<Outcome, StoreError> {
        self.send(key, Update::new(fence, change)).await
    }

    async fn ask(&self, seen: &Lease, to: Option<&WorkerId>) -> Result<Outcome, StoreError> {
        self.send(&seen.key, Update::asking(seen, to)).await
    }

    async fn delete(&self, key: &LeaseKey, fence: &Fence) -> Result<Outcome, StoreError> {
        let condition = Condition::new(fence);
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(item::KEY, item::text(key))
            .condition_expression(condition.expression)
            .set_expression_attribute_values(Some(condition.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(Outcome::Applied),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(found)) => {
                    Ok(conflict(found.item()))
                }
                _ => Err(store_error("DeleteItem", error)),
            },
        }
    }
}

impl DynamoStore {
    async fn send(&self, key: &LeaseKey, update: Update) -> Result<Outcome, StoreError> {
        let written = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(item::KEY, item::text(key))
            .condition_expression(update.condition.expression)
            .update_expression(update.expression)
            .set_expression_attribute_values(Some(update.condition.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written {
            Ok(_) => Ok(Outcome::Applied),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(found)) => {
                    Ok(conflict(found.item()))
                }
                _ => Err(store_error("UpdateItem", error)),
            },
        }
    }
}

/// The client without retries, and with a bound on each request.
fn reined(client: &Client, call_timeout: Duration) -> Client {
    let config = client.config();
    let timeouts = config.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
    let config = config
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.operation_timeout(call_timeout).build())
        .build();
    Client::from_conf(config)
}

/// A failed condition returns the item that it failed on, or nothing when there is none.
fn conflict(found: Option<&HashMap<String, AttributeValue>>) -> Outcome {
    match found.map(item::decode) {
        None => Outcome::Missing,
        Some(Item::Lease(lease)) => Outcome::Conflict(Some(lease)),
        Some(Item::Foreign | Item::Unreadable { .. }) => Outcome::Conflict(None),
    }
}
