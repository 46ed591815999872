//! S5, the holder gives up first: nothing is handed out later than lease duration less margin after the start of the last
//! write by which the process held the lease. (Processes that live under one id at once cannot tell their writes apart.)

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::ShardId;

use super::Violation;
use super::s4_fenced::twins;
use crate::sim::history::{History, Life, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let twins = twins(history);
    let valid_for = history.terms.timing.lease_duration - history.terms.timing.fence_margin;
    let mut valid: BTreeMap<(&ShardId, Life), Duration> = BTreeMap::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Wrote(write) => {
                if let (Some(life), Some(after)) = (write.by, &write.after)
                    && after.owner.as_ref().is_some_and(|owner| life.is(owner))
                {
                    let until = valid.entry((shard, life)).or_default();
                    *until = (*until).max(write.issued + valid_for);
                }
            }
            What::Delivered(life, _) => {
                let lives =
                    if twins.contains(&life.worker) { 0..=u32::MAX } else { life.life..=life.life };
                let of = |number: &u32| (shard, Life { life: *number, ..*life });
                let writes = valid.range(of(lives.start())..=of(lives.end()));
                let until = writes.map(|(_, until)| *until).max().unwrap_or_default();
                if event.at > until {
                    let what = format!(
                        "{life} hands out records; its lease was good until {:.3} s",
                        until.as_secs_f64()
                    );
                    violations.push(Violation::new("S5", Some(event), what));
                }
            }
            _ => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_delivery_after_the_lease_is_seen() {
        let wait = |seconds| {
            (0..seconds).fold(made().put(&[1]).taken(ANA), |made, _| {
                made.then(What::Weather("fine".into()))
            })
        };
        // Taken at 2 s for 9 s.
        assert_eq!(check(&wait(8).delivered(ANA, &[1]).history), []);
        assert_eq!(check(&wait(9).delivered(ANA, &[1]).history).len(), 1);
        assert_eq!(check(&made().put(&[1]).delivered(ANA, &[1]).history).len(), 1);
    }
}
