//! S3, checkpoints only grow, across owners, unclear writes and writes that come late, also to a lease that was made anew. Only
//! an operator sets one back.

use super::Violation;
use crate::sim::history::{History, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for event in &history.events {
        if let What::Wrote(write) = &event.what
            && let (Some(_), Some(before), Some(after)) = (write.by, &write.before, &write.after)
            && after.position < before.position
        {
            let what = format!("checkpoint goes from {} to {}", before.position, after.position);
            violations.push(Violation::new("S3", Some(event), what));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, at, made};
    use super::*;

    #[test]
    fn a_checkpoint_that_moves_back_is_seen() {
        for (from, to, bad) in [
            (at(9), at(10), 0),
            (at(10), at(9), 1),
            (Position::ShardEnd, at(9), 1),
            (at(1), Position::TrimHorizon, 1),
        ] {
            let made = made().checkpointed(ANA, (1, from), to);
            assert_eq!(check(&made.history).len(), bad);
        }
    }
}
