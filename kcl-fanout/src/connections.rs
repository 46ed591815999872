//! The clients that subscribe: as many as the shards need connections.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use kcl_core::kinesis::seam;

/// AWS does not say how many streams it allows on a connection. A hundred is the least that HTTP/2 recommends: RFC 9113, section
/// 6.5.2.
pub(crate) const SHARDS_EACH: usize = 100;

/// Makes a client with a connection of its own.
#[derive(Clone)]
pub(crate) struct Make(Arc<dyn Fn() -> Client + Send + Sync>);

/// Lends a client to each reader, and makes one more when all are full.
#[derive(Debug)]
pub(crate) struct Connections {
    make: Make,
    shards_each: usize,
    clients: Mutex<Vec<Arc<Client>>>,
}

impl Make {
    pub(crate) fn new(make: impl Fn() -> Client + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn client(&self) -> Client {
        (self.0)()
    }
}

impl Connections {
    pub(crate) fn new(make: Make, shards_each: usize) -> Self {
        Self { make, shards_each, clients: Mutex::default() }
    }

    /// The client with the fewest readers, who each hold it until they end. None is given up: the connection of one without
    /// readers closes by itself.
    pub(crate) fn lend(&self) -> Arc<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = |client: &Arc<Client>| Arc::strong_count(client) - 1;
        let freest = clients.iter().min_by_key(|client| readers(client));
        if let Some(client) = freest.filter(|client| readers(client) < self.shards_each) {
            return client.clone();
        }
        let client = Arc::new(seam::clients(&self.make.client()).reads);
        clients.push(client.clone());
        client
    }
}

impl fmt::Debug for Make {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Make").finish_non_exhaustive()
    }
}
