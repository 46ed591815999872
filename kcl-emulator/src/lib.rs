//! Kinesis Data Streams and DynamoDB in one process, with AWS's limits, injected faults and a clock you own.
//!
//! # What it holds
//!
//! ```text
//!  aws-sdk client ──> InProcess ─┐                            ┌─> Kinesis   a pure state machine
//!                                ├─> Emulator::call ─> Faults ┤
//!  any SDK ──HTTP──> Server ─────┘   X-Amz-Target             └─> DynamoDB  dynoxide, in memory
//! ```
//!
//! Two fronts on one state. [`InProcess`] plugs into any `aws-sdk-*` client: no socket, no spawned task, and a paused
//! tokio clock moves everything. [`Server`] answers any SDK over loopback HTTP/1.1 or HTTP/2, also with TLS. Requests are JSON, or CBOR as
//! AWS's SDKs for Java send it to Kinesis; `SubscribeToShard` is answered by an [`EventStream`]. Both hand a request to
//! [`Emulator::call`], which tells the services apart by `X-Amz-Target`, lets [`Faults`] have their say, and asks the
//! service for its reply at the present time of the [`EmulatorClock`]. The program `kcl-emulator` is a [`Server`] with
//! options.
//!
//! # What it must never do
//!
//! - Answer what AWS would not: names, codes and limits are AWS's own.
//! - Read time or chance from anywhere but [`EmulatorClock`] and the seed.
//! - Depend on a crate of this workspace: consumers are tested against it, not with it.
//! - Check a signature or keep anything on disk. It is a tool for tests, never a service.
//!
//! # Example
//!
//! ```
//! use aws_sdk_dynamodb::Client;
//! use kcl_emulator::Emulator;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::builder().seed(7).build();
//! let client = Client::new(&emulator.sdk_config());
//! assert!(client.list_tables().send().await?.table_names().is_empty());
//! assert_eq!(emulator.counts()["dynamodb:ListTables"], 1);
//! # Ok(())
//! # }
//! ```

mod clock;
mod connector;
mod delivery;
mod dynamodb;
mod emulator;
mod events;
mod faults;
mod front;
pub mod kinesis;
mod limits;
mod server;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use clock::EmulatorClock;
pub use connector::InProcess;
pub use delivery::Delivery;
pub use emulator::{Builder, Emulator};
pub use events::EventStream;
pub use faults::{Fault, Faults, Rule};
pub use kinesis::{Kinesis, Reply};
pub use limits::Limits;
pub use server::{Server, ServerOptions};
pub use target::Service;
pub use wire::Protocol;
