//! The lease table: checked, and created where that is allowed.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, timeout::TimeoutConfig};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::update_continuous_backups::UpdateContinuousBackupsError;
use aws_sdk_dynamodb::types::{PointInTimeRecoverySpecification, TableDescription, TableStatus};
use kcl_core::Clock;
use kcl_core::leasing::LeasingError;
use tracing::{info, warn};

use self::request::{create_table, foreign_key};
use self::wait::Wait;
use super::dynamo::error::store_error;
use super::{StoreError, StoreErrorKind};
use crate::item;

mod request;
mod wait;

/// What to do when the lease table does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TablePolicy {
    /// Create it. Needs `dynamodb:CreateTable` only for that.
    CreateIfMissing(TableSpec),
    /// Fail: it is made elsewhere, and its absence means a wrong name or a loss.
    MustExist,
}

impl Default for TablePolicy {
    fn default() -> Self {
        Self::CreateIfMissing(TableSpec::default())
    }
}

/// How a lease table is created: on-demand billing, with the owner index of the Java KCL 3.x from the start.
///
/// Only the worker that creates the table applies this; a table that exists is used as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct TableSpec {
    pub(super) deletion_protection: bool,
    pub(super) point_in_time_recovery: bool,
    pub(super) tags: Vec<(String, String)>,
}

impl TableSpec {
    /// Whether DynamoDB refuses to delete the table. Default: no.
    pub fn deletion_protection(mut self, on: bool) -> Self {
        self.deletion_protection = on;
        self
    }

    /// Whether the table can be restored to any moment of the last 35 days. Default: no. Needs
    /// `dynamodb:UpdateContinuousBackups`; a failure is logged, and the worker goes on.
    pub fn point_in_time_recovery(mut self, on: bool) -> Self {
        self.point_in_time_recovery = on;
        self
    }

    /// Adds a tag. Default: none. Needs `dynamodb:TagResource`.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }
}

/// Longer than a store's usual limit: the first request also waits for credentials.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Backups cannot be configured for some seconds after a table has become active.
const BACKUP_ATTEMPTS: u32 = 15;
const BACKUP_PAUSE: Duration = Duration::from_secs(1);

/// Returns once the table can be used.
pub(super) async fn ensure(
    client: &Client,
    table: &str,
    policy: &TablePolicy,
) -> Result<(), LeasingError> {
    let clock = Clock::system();
    let mut wait = Wait::new(clock.now());
    let mut created = None;
    loop {
        let step = match look(client, table).await {
            Ok(Seen::Usable) => break,
            Ok(Seen::Changing(status)) => Ok(status),
            Ok(Seen::Foreign(reason)) => {
                let table = table.to_owned();
                return Err(LeasingError::TableForeign { table, reason });
            }
            Ok(Seen::Missing) => match policy {
                TablePolicy::MustExist => {
                    let table = table.to_owned();
                    return Err(LeasingError::TableMissing { table });
                }
                TablePolicy::CreateIfMissing(spec) => {
                    create(client, table, spec).await.map(|by_us| {
                        if by_us {
                            created = Some(spec);
                        }
                        "CREATING".to_owned()
                    })
                }
            },
            Err(error) => Err(error),
        };
        wait.judge(clock.now(), table, step)?;
        clock.sleep(wait.next_pause()).await;
    }
    if let Some(spec) = created {
        info!(table, "created lease table");
        if spec.point_in_time_recovery {
            keep_backups(client, table, &clock).await;
        }
    }
    Ok(())
}

/// What a look at the table showed.
#[derive(Debug)]
enum Seen {
    Usable,
    /// Not usable yet; the status.
    Changing(String),
    Missing,
    /// Not a lease table; why, and what to do.
    Foreign(String),
}

async fn look(client: &Client, table: &str) -> Result<Seen, StoreError> {
    let described =
        client.describe_table().table_name(table).customize().config_override(patient()).send();
    match described.await {
        Ok(answer) => Ok(answer.table.as_ref().map_or(Seen::Missing, judge)),
        Err(error) => {
            let error = store_error("DescribeTable", error);
            match error.kind() {
                StoreErrorKind::TableMissing => Ok(Seen::Missing),
                StoreErrorKind::AccessDenied => probe(client, table).await.map_err(|_| error),
                _ => Err(error),
            }
        }
    }
}

fn judge(table: &TableDescription) -> Seen {
    match table.table_status() {
        // `Updating` also stands for an index that is being built, which may take hours and is of no concern to us.
        None | Some(TableStatus::Active | TableStatus::Updating) => {
            foreign_key(table).map_or(Seen::Usable, Seen::Foreign)
        }
        Some(status) => Seen::Changing(status.as_str().to_owned()),
    }
}

/// A look by those who may not describe the table: reading a lease fails in telling ways.
async fn probe(client: &Client, table: &str) -> Result<Seen, StoreError> {
    let key = item::text("probe");
    let read = client.get_item().table_name(table).key(item::KEY, key);
    match read.customize().config_override(patient()).send().await {
        Ok(_) => Ok(Seen::Usable),
        Err(error) => {
            let error = store_error("GetItem", error);
            match error.kind() {
                StoreErrorKind::TableMissing => Ok(Seen::Missing),
                StoreErrorKind::Invalid => Ok(Seen::Foreign(request::wrong_key("another key"))),
                _ => Err(error),
            }
        }
    }
}

/// Says whether it was us who created the table, or another worker at the same time.
async fn create(client: &Client, table: &str, spec: &TableSpec) -> Result<bool, StoreError> {
    let request = create_table(client, table, spec)
        .map_err(|error| StoreError::new("CreateTable", StoreErrorKind::Invalid, error))?;
    match request.customize().config_override(patient()).send().await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(CreateTableError::ResourceInUseException(_)) => Ok(false),
            _ => Err(store_error("CreateTable", error)),
        },
    }
}

async fn keep_backups(client: &Client, table: &str, clock: &Clock) {
    let on = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true);
    let Ok(on) = on.build() else { return };
    for attempt in 1..=BACKUP_ATTEMPTS {
        let request = client
            .update_continuous_backups()
            .table_name(table)
            .point_in_time_recovery_specification(on.clone());
        let Err(error) = request.customize().config_override(patient()).send().await else {
            return;
        };
        let not_yet = matches!(
            error.as_service_error(),
            Some(UpdateContinuousBackupsError::ContinuousBackupsUnavailableException(_))
        );
        if !not_yet || attempt == BACKUP_ATTEMPTS {
            let error = store_error("UpdateContinuousBackups", error);
            warn!(table, kind = ?error.kind(), "lease table has no point-in-time recovery");
            return;
        }
        clock.sleep(BACKUP_PAUSE).await;
    }
}

fn patient() -> config::Builder {
    let timeouts = TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build();
    config::Builder::new().timeout_config(timeouts)
}

#[cfg(test)]
mod tests;
