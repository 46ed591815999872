//! What lies in the table and is no readable lease: passed over, counted at every scan, and told once.

use std::collections::BTreeSet;

use kcl_core::metrics::{self, Metrics};

use crate::store::Scan;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Aside {
    unreadable: BTreeSet<String>,
    foreign: bool,
}

impl Aside {
    pub(super) fn note(&mut self, scan: &Scan, metrics: &dyn Metrics) {
        for (metric, count) in [
            (metrics::LEASES_UNREADABLE, scan.unreadable.len()),
            (metrics::LEASE_ITEMS_FOREIGN, scan.foreign),
        ] {
            if count > 0 {
                metrics.record(metric, None, count as f64);
            }
        }
        // One line for all that came at once: a table may be full of them.
        let is_new = |(key, _): &&(String, String)| !self.unreadable.contains(key);
        if let Some((key, reason)) = scan.unreadable.iter().find(is_new) {
            let count = scan.unreadable.len();
            tracing::warn!(
                count,
                key,
                reason,
                "damaged leases are left alone, and their shards not read: mend or delete them"
            );
        }
        self.unreadable = scan.unreadable.iter().map(|(key, _)| key.clone()).collect();
        if scan.foreign > 0 && !self.foreign {
            self.foreign = true;
            tracing::info!(count = scan.foreign, "items that are no leases are left alone");
        }
    }
}
