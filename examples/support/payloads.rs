//! What `produce` puts: generated payloads or lines, one by one or packed.

use std::io::{self, BufRead};
use std::thread;

use kcl_core::aggregation::Aggregator;
use tokio::sync::mpsc;

use crate::ordered_puts::Put;

/// AWS's cap on a record's payload and key is 1 MiB; a key has 256 characters at most.
const MAX_PAYLOAD: usize = (1 << 20) - 256;

/// The records to put, under keys that take turns.
pub(crate) struct Payloads {
    source: Source,
    /// `key-0`, `key-1`, …
    keys: usize,
    turn: usize,
    /// User records of one Kinesis record.
    aggregate: u64,
    aggregator: Aggregator,
    /// Did not fit into the last aggregate.
    held: Option<Vec<u8>>,
}

enum Source {
    Generated {
        size: usize,
        left: u64,
        /// The next number of each key.
        numbers: Vec<u64>,
    },
    Lines(mpsc::Receiver<io::Result<Vec<u8>>>),
}

/// What there is to put now.
pub(crate) enum Next<T> {
    Some(T),
    NotYet,
    End,
}

impl Payloads {
    /// `count` payloads of `size` bytes.
    pub(crate) fn generated(count: u64, size: usize, keys: u32, aggregate: u32) -> Self {
        let numbers = vec![0; keys as usize];
        let source = Source::Generated { size, left: count, numbers };
        Self::new(source, keys, aggregate)
    }

    /// The lines of standard input, without their ends. Starts the thread that reads them.
    pub(crate) fn lines(keys: u32, aggregate: u32) -> Self {
        let (sender, lines) = mpsc::channel(1000);
        thread::spawn(move || {
            for line in io::stdin().lock().split(b'\n') {
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Self::new(Source::Lines(lines), keys, aggregate)
    }

    fn new(source: Source, keys: u32, aggregate: u32) -> Self {
        Self {
            source,
            keys: keys as usize,
            turn: 0,
            aggregate: u64::from(aggregate),
            aggregator: Aggregator::new(MAX_PAYLOAD),
            held: None,
        }
    }

    /// The next Kinesis record. An aggregate holds records of one key, so that no record strays into another key's shard; it
    /// is closed early when no more is to be had at the moment.
    ///
    /// # Errors
    /// When standard input cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Next<Put>> {
        let key = format!("key-{}", self.turn);
        let mut records = 0;
        let ended = loop {
            let data = match self.payload(&key)? {
                Next::Some(data) => data,
                Next::NotYet => break false,
                Next::End => break true,
            };
            let packed = self.aggregate > 1 && self.aggregator.push(&key, None, &data);
            if !packed && records == 0 {
                self.take_turns();
                return Ok(Next::Some(Put { key, data, user_records: 1 }));
            }
            if !packed {
                self.held = Some(data);
                break false;
            }
            records += 1;
            if records == self.aggregate {
                break false;
            }
        };
        match self.aggregator.finish() {
            Some(aggregated) => {
                self.take_turns();
                Ok(Next::Some(Put { key, data: aggregated.data.into(), user_records: records }))
            }
            None if ended => Ok(Next::End),
            None => Ok(Next::NotYet),
        }
    }

    fn take_turns(&mut self) {
        // A payload that waits was made for this key.
        if self.held.is_none() {
            self.turn = (self.turn + 1) % self.keys;
        }
    }

    fn payload(&mut self, key: &str) -> io::Result<Next<Vec<u8>>> {
        if let Some(held) = self.held.take() {
            return Ok(Next::Some(held));
        }
        match &mut self.source {
            Source::Generated { left: 0, .. } => Ok(Next::End),
            Source::Generated { size, left, numbers } => {
                *left -= 1;
                let number = &mut numbers[self.turn];
                let mut data = format!("{key}:{number}:").into_bytes();
                *number += 1;
                data.resize(data.len().max(*size), b'x');
                Ok(Next::Some(data))
            }
            Source::Lines(lines) => match lines.try_recv() {
                Ok(line) => line.map(Next::Some),
                Err(mpsc::error::TryRecvError::Empty) => Ok(Next::NotYet),
                Err(mpsc::error::TryRecvError::Disconnected) => Ok(Next::End),
            },
        }
    }
}
