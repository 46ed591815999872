//! Names that were checked once, where they entered: after that they are right by type.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name that breaks AWS's rules for its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: expected {expected}: value={value:?}")]
pub struct InvalidName {
    kind: &'static str,
    expected: &'static str,
    value: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $lengths:expr, $accepts:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a name.
            ///
            /// # Errors
            /// When the length or a character breaks the rule of this kind of name.
            pub fn new(value: impl AsRef<str>) -> Result<Self, InvalidName> {
                let value = value.as_ref();
                let accepts: fn(char) -> bool = $accepts;
                if $lengths.contains(&value.len()) && value.chars().all(accepts) {
                    return Ok(Self(value.into()));
                }
                let (kind, expected) = ($kind, $expected);
                Err(InvalidName { kind, expected, value: value.chars().take(64).collect() })
            }

            /// The name as AWS spells it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(value: &str) -> Result<Self, InvalidName> {
                Self::new(value)
            }
        }
    };
}

fn is_resource_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

name!(
    /// The application's name, which is also the name of its lease table.
    ApplicationName,
    "application name",
    3..=255,
    is_resource_char,
    "3 to 255 characters of a-z, A-Z, 0-9, '_', '.', '-' (it names the lease table)"
);
name!(
    /// A Kinesis stream's name, without account or region.
    StreamName,
    "stream name",
    1..=128,
    is_resource_char,
    "1 to 128 characters of a-z, A-Z, 0-9, '_', '.', '-'"
);
name!(
    /// A shard's id, such as `shardId-000000000007`.
    ShardId,
    "shard id",
    1..=128,
    is_resource_char,
    "1 to 128 characters of a-z, A-Z, 0-9, '_', '.', '-'"
);
name!(
    /// The name by which a worker owns leases. Two live workers must never share one.
    WorkerId,
    "worker id",
    1..=256,
    |c| !c.is_control(),
    "1 to 256 bytes without control characters"
);

impl WorkerId {
    /// An id that no other worker has: host name, process id and 48 random bits.
    #[must_use]
    pub fn unique(rng: &mut fastrand::Rng) -> Self {
        let host = std::env::var("HOSTNAME")
            .ok()
            .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
            .map(|name| name.trim().chars().filter(|c| is_resource_char(*c)).take(128).collect())
            .filter(|name: &String| !name.is_empty())
            .unwrap_or_else(|| "host".into());
        let nonce = rng.u64(..1 << 48);
        Self(format!("{host}:{}:{nonce:012x}", std::process::id()).into())
    }
}

/// Which stream, for good: a deleted and re-created stream of the same name is another one.
///
/// Written `account:name:creation-epoch-seconds`, the form that the Java KCL uses in the lease keys of
/// multi-stream applications.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    account: Arc<str>,
    name: StreamName,
    created: u64,
}

impl StreamId {
    /// `account` is the 12-digit AWS account id, `created` the stream's creation in epoch seconds.
    ///
    /// # Errors
    /// When `account` is not made of digits.
    pub fn new(account: &str, name: StreamName, created: u64) -> Result<Self, InvalidName> {
        if account.is_empty() || !account.bytes().all(|b| b.is_ascii_digit()) {
            let (kind, expected) = ("account id", "digits");
            return Err(InvalidName { kind, expected, value: account.chars().take(64).collect() });
        }
        Ok(Self { account: account.into(), name, created })
    }

    /// The AWS account that owns the stream.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// When the stream was created, in epoch seconds.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.account, self.name, self.created)
    }
}

impl FromStr for StreamId {
    type Err = InvalidName;

    fn from_str(value: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            kind: "stream id",
            expected: "account:name:creation-epoch-seconds",
            value: value.chars().take(64).collect(),
        };
        let mut parts = value.split(':');
        let (Some(account), Some(name), Some(created), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        Self::new(account, StreamName::new(name)?, created.parse().map_err(|_| invalid())?)
    }
}

/// How the user names a stream, and so how calls address it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamAddress {
    /// By name, in the account and region of the client.
    Name(StreamName),
    /// By ARN, which also works across accounts.
    Arn(Arc<str>),
}

impl FromStr for StreamAddress {
    type Err = InvalidName;

    fn from_str(value: &str) -> Result<Self, InvalidName> {
        if !value.starts_with("arn:") {
            return StreamName::new(value).map(Self::Name);
        }
        // arn:partition:kinesis:region:account:stream/name
        let mut parts = value.splitn(6, ':').skip(2);
        let resource = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("kinesis"), Some(_), Some(_), Some(resource)) => resource.strip_prefix("stream/"),
            _ => None,
        };
        if resource.is_some_and(|name| StreamName::new(name).is_ok()) {
            return Ok(Self::Arn(value.into()));
        }
        Err(InvalidName {
            kind: "stream ARN",
            expected: "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME",
            value: value.chars().take(128).collect(),
        })
    }
}

impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Arn(arn) => f.write_str(arn),
        }
    }
}

/// A stream that was looked up: who it is, and how to call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// Who it is.
    pub id: StreamId,
    /// How calls name it.
    pub address: StreamAddress,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        assert!(ApplicationName::new("ab").is_err());
        assert!(ApplicationName::new("orders-app_1.2").is_ok());
        assert!(StreamName::new("a b").is_err());
        assert!(WorkerId::new("host:1\nFAKE LOG LINE").is_err());
        let error = ShardId::new("shard/1").unwrap_err().to_string();
        assert!(error.starts_with("not a valid shard id"), "{error}");
    }

    #[test]
    fn stream_id_reads_what_it_writes() {
        let id: StreamId = "123456789012:orders:1700000000".parse().unwrap();
        assert_eq!(id.to_string(), "123456789012:orders:1700000000");
        for wrong in ["", "1:2", "x:orders:1", "1:orders:x", "1:orders:2:3"] {
            assert!(wrong.parse::<StreamId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stream_is_addressed_by_name_or_arn() {
        let arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
        assert_eq!(arn.parse(), Ok(StreamAddress::Arn(arn.into())));
        assert!(matches!("orders".parse(), Ok(StreamAddress::Name(_))));
        assert!("arn:aws:sqs:us-east-1:1:orders".parse::<StreamAddress>().is_err());
    }
}
