//! Read a Kinesis Data Stream by enhanced fan-out: 2 MiB a second of each shard for this application alone, pushed as it comes.
//!
//! One line changes in the program that polls:
//!
//! ```no_run
//! # use aws_types::SdkConfig;
//! # use kcl_fanout::FanOut;
//! # fn source(aws: &SdkConfig) {
//! let source = FanOut::new(aws).consumer("orders-app"); // instead of Polling::new(aws)
//! # }
//! ```
//!
//! # How data flows
//!
//! ```text
//!  Auto, FanOutSource ──open──> Switch ──asks──> Choice (polling or fan-out?)
//!       │                         ├──opens──> kcl_core's Polling
//!       │                         └──opens──> Reader ──asks──> Machine (subscribe, listen, confirm: what next, and when?)
//!       │                                      ├──asks──> Registry ──RegisterStreamConsumer, DescribeStreamConsumer──> Kinesis
//!       │                                      └──calls──> SubscribeToShard ──> Gate (a permit for each event) ──> Line ──> records
//!       └── the calls of kcl_core::kinesis, for everything but the records       Line: given up when nobody takes its events
//! ```
//!
//! `choice`, `machine` and `pace` decide and are pure; `switch` and `reader` carry out. `connections` lends each reader a client, a new one
//! for each hundred.
//!
//! # What it must never do
//!
//! - Take an empty continuation number for a position, or a refused call for a shard's end.
//! - Call SubscribeToShard more than once a second for a consumer and shard.
//! - Return a record twice to one reader, or skip one.
//! - Hold an event for which the process's byte budget has no room.
//! - Keep a connection busy with events that nobody takes.
//! - Deregister a consumer that it was not told to.
//! - Know leases.

#![forbid(unsafe_code)]

mod auto;
mod calls;
mod choice;
mod connections;
mod gate;
mod line;
mod machine;
mod pace;
mod reader;
mod registry;
mod source;
mod switch;

pub use auto::Auto;
pub use source::{FanOut, FanOutSource};
