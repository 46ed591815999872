//! S8, no hole and no overlap: in the end the leases that have not ended share all hash keys among them.

use kcl_core::HashRange;

use super::Violation;
use crate::sim::history::History;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let shards = history.shards();
    let leases = history.final_leases();
    let live = leases.values().filter(|lease| !lease.has_ended());
    let mut ranges: Vec<HashRange> =
        live.filter_map(|lease| shards.get(lease.key.shard())).map(|(_, range)| *range).collect();
    ranges.sort();
    let mut violations = Vec::new();
    for gap in HashRange::gaps(ranges.iter().copied()) {
        violations.push(Violation::new("S8", None, format!("no lease reads hash keys {gap:?}")));
    }
    for pair in ranges.windows(2) {
        if pair[1].start() <= pair[0].end() {
            let what = format!("two leases read hash keys {:?} and {:?}", pair[0], pair[1]);
            violations.push(Violation::new("S8", None, what));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn uncovered_hash_keys_are_seen() {
        let begun = || made().opened(0, &[]).taken(ANA);
        assert_eq!(check(&begun().history), []);
        let ended = begun().checkpointed(ANA, (1, Position::TrimHorizon), Position::ShardEnd);
        assert_eq!(check(&ended.history).len(), 1);
    }
}
