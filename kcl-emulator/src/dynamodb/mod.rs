//! DynamoDB by `dynoxide`, behind the same interface as our Kinesis: a time, an operation and a body in, a reply out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock::since_epoch;
use crate::emulator::{ACCOUNT, REGION};
use crate::front::error;
use crate::{EmulatorClock, Protocol, Reply, Service};

/// One account's tables. Every call is synchronous, atomic and short.
pub(crate) struct DynamoDb {
    database: Database,
    /// What dynoxide does not keep, or takes from the machine's clock and entropy.
    tables: BTreeMap<String, TableFacts>,
    rng: fastrand::Rng,
}

struct TableFacts {
    id: String,
    /// Seconds since 1970.
    created: f64,
    /// Days of point-in-time recovery, if it is on.
    recovery_days: Option<u64>,
}

impl DynamoDb {
    pub(crate) fn new(clock: EmulatorClock, seed: u64) -> Self {
        Self {
            database: Database::memory_with_clock(Arc::new(clock))
                .expect("an in-memory database with a fixed schema opens"),
            tables: BTreeMap::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Answers one request. `operation` is the part of `X-Amz-Target` after the dot; `body` is JSON 1.0.
    pub(crate) fn call(&mut self, now: SystemTime, operation: &str, body: &[u8]) -> Reply {
        match self.answer(now, operation, body) {
            Ok(value) => reply(200, None, encode(&value)),
            Err(Refusal::Dynoxide(error)) => refusal(operation, error),
            Err(Refusal::Named(name, message)) => {
                error(Service::DynamoDb, 400, name, message.as_deref())
            }
        }
    }

    fn answer(&mut self, now: SystemTime, operation: &str, body: &[u8]) -> Result<Value, Refusal> {
        let db = &self.database;
        let mut answer = match operation {
            "BatchGetItem" => run(body, |request| db.batch_get_item(request))?,
            "BatchWriteItem" => run(body, |request| db.batch_write_item(request))?,
            "CreateTable" => {
                let answer = run(body, |request| db.create_table(request))?;
                self.remember_table(now, &answer["TableDescription"]);
                answer
            }
            "DeleteItem" => run(body, |request| db.delete_item(request))?,
            "DeleteTable" => run(body, |request| db.delete_table(request))?,
            "DescribeContinuousBackups" => self.backups(body)?,
            "DescribeTable" => run(body, |request| db.describe_table(request))?,
            "DescribeTimeToLive" => run(body, |request| db.describe_time_to_live(request))?,
            "GetItem" => run(body, |request| db.get_item(request))?,
            "ListTables" => run(body, |request| db.list_tables(request))?,
            "ListTagsOfResource" => run(body, |request| db.list_tags_of_resource(request))?,
            "PutItem" => run(body, |request| db.put_item(request))?,
            "Query" => run(body, |request| db.query(request))?,
            "Scan" => run(body, |request| db.scan(request))?,
            "TagResource" => run(body, |request| db.tag_resource(request))?,
            "TransactGetItems" => run(body, |request| db.transact_get_items(request))?,
            "TransactWriteItems" => run(body, |request| db.transact_write_items(request))?,
            "UntagResource" => run(body, |request| db.untag_resource(request))?,
            "UpdateContinuousBackups" => self.set_backups(body)?,
            "UpdateItem" => run(body, |request| db.update_item(request))?,
            "UpdateTable" => run(body, |request| db.update_table(request))?,
            "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request))?,
            _ => return Err(Refusal::Named("UnknownOperationException", None)),
        };
        for key in ["Table", "TableDescription"] {
            if let Some(table) = answer.get_mut(key) {
                self.restore_facts(table);
            }
        }
        if operation == "DeleteTable"
            && let Some(name) = answer["TableDescription"]["TableName"].as_str()
        {
            self.tables.remove(name);
        }
        Ok(answer)
    }

    fn remember_table(&mut self, now: SystemTime, table: &Value) {
        let Some(name) = table["TableName"].as_str() else {
            return;
        };
        let (high, low) = (self.rng.u64(..), self.rng.u64(..));
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        );
        let created = since_epoch(now).as_secs_f64();
        self.tables.insert(name.to_owned(), TableFacts { id, created, recovery_days: None });
    }

    /// Puts our id, creation time and region in place of dynoxide's, which no seed, clock or name of ours governs.
    fn restore_facts(&self, table: &mut Value) {
        let Some((name, facts)) =
            table["TableName"].as_str().and_then(|name| self.tables.get_key_value(name))
        else {
            return;
        };
        let arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}");
        for index in table["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten() {
            index["IndexArn"] = match index["IndexName"].as_str() {
                Some(name) => json!(format!("{arn}/index/{name}")),
                None => continue,
            };
        }
        table["TableArn"] = json!(arn);
        table["TableId"] = json!(facts.id);
        table["CreationDateTime"] = json!(facts.created);
    }

    fn backups(&self, body: &[u8]) -> Result<Value, Refusal> {
        let request: Value = parse(body)?;
        let name = request["TableName"].as_str().unwrap_or_default();
        self.tables.get(name).map(TableFacts::backups).ok_or_else(|| no_table(name))
    }

    fn set_backups(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let request: Value = parse(body)?;
        let name = request["TableName"].as_str().unwrap_or_default();
        let specification = &request["PointInTimeRecoverySpecification"];
        let Some(on) = specification["PointInTimeRecoveryEnabled"].as_bool() else {
            return Err(Refusal::Dynoxide(DynoxideError::ValidationException(
                "1 validation error detected: Value null at \
                 'pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled' failed to satisfy \
                 constraint: Member must not be null"
                    .to_owned(),
            )));
        };
        let facts = self.tables.get_mut(name).ok_or_else(|| no_table(name))?;
        let days = specification["RecoveryPeriodInDays"].as_u64().unwrap_or(35);
        facts.recovery_days = on.then_some(days);
        Ok(facts.backups())
    }
}

impl fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDb").field("tables", &self.tables.keys()).finish_non_exhaustive()
    }
}

impl TableFacts {
    fn backups(&self) -> Value {
        let recovery = match self.recovery_days {
            Some(days) => json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": days,
                "EarliestRestorableDateTime": self.created,
                "LatestRestorableDateTime": self.created,
            }),
            None => json!({ "PointInTimeRecoveryStatus": "DISABLED" }),
        };
        json!({ "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": recovery,
        }})
    }
}

enum Refusal {
    Dynoxide(DynoxideError),
    /// An error that dynoxide does not have.
    Named(&'static str, Option<String>),
}

impl From<DynoxideError> for Refusal {
    fn from(error: DynoxideError) -> Self {
        Self::Dynoxide(error)
    }
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> Result<Value, Refusal> {
    let answer = operation(parse(body)?)?;
    // By way of `Value`, which sorts keys: dynoxide's maps come out in random order.
    serde_json::to_value(answer)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()).into())
}

/// Reads a request; a failure becomes the error that DynamoDB answers.
///
/// dynoxide marks the class of a failure by a prefix of serde's message (its `serde_errors.rs`).
fn parse<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, DynoxideError> {
    serde_json::from_slice(body).map_err(|error| {
        let message = error.to_string();
        let text = message.rfind(" at line ").map_or(message.as_str(), |end| &message[..end]);
        let class = text.split_once(':').map(|(class, rest)| (class, rest.to_owned()));
        match class {
            Some(("VALIDATION" | "VALIDATION_AS_READ", rest)) => {
                DynoxideError::ValidationException(rest)
            }
            Some(("VALIDATION_REQUEST", rest)) => DynoxideError::EnvelopedValidation(rest),
            Some(("SERIALIZATION" | "SERIALIZATION_AS_READ", rest)) => {
                DynoxideError::SerializationException(rest)
            }
            _ if text.contains("missing field")
                || text.contains("unknown variant")
                || text.contains("invalid type: null")
                || text.contains("AttributeValue") =>
            {
                DynoxideError::ValidationException(text.to_owned())
            }
            _ if error.is_data() => DynoxideError::SerializationException(text.to_owned()),
            _ => DynoxideError::SerializationException(String::new()),
        }
    })
}

fn refusal(operation: &str, error: DynoxideError) -> Reply {
    let error = match (operation, error) {
        ("PutItem" | "UpdateItem" | "DeleteItem", DynoxideError::EnvelopedValidation(message)) => {
            DynoxideError::ValidationException(format!("1 validation error detected: {message}"))
        }
        (_, error) => error,
    };
    let name = error.error_type().rsplit('#').next().map(str::to_owned);
    reply(error.status_code(), name, error.to_json().into())
}

fn reply(status: u16, error: Option<String>, body: Bytes) -> Reply {
    Reply { status, error, body, content_type: Service::DynamoDb.content_type(Protocol::Json) }
}

fn no_table(name: &str) -> Refusal {
    Refusal::Named("TableNotFoundException", Some(format!("Table not found: {name}")))
}

fn encode(value: &Value) -> Bytes {
    value.to_string().into()
}

#[cfg(test)]
mod tests;
