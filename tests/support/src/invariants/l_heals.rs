//! L1 to L7 in one bound: once nothing goes wrong any more, every record is done, every closed shard ended and every open one
//! owned within the bound, without a hand from outside.

use super::{Violation, undone};
use crate::sim::history::{History, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let when = |wanted: fn(&What) -> bool| {
        history.events.iter().find(|event| wanted(&event.what)).map(|event| event.at)
    };
    let Some(healed) = when(|what| matches!(what, What::Healed)) else {
        return Vec::new();
    };
    let bound = history.heal_bound.as_secs();
    match when(|what| matches!(what, What::Drained)) {
        Some(drained) if drained - healed <= history.heal_bound => Vec::new(),
        Some(drained) => {
            let took = (drained - healed).as_secs();
            vec![Violation::new("L", None, format!("healing took {took} s, more than {bound} s"))]
        }
        None => {
            let left = undone(history).len();
            let what = format!("not healed within {} s: {left} records are not done", 2 * bound);
            vec![Violation::new("L", None, what)]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::made;
    use super::*;

    #[test]
    fn a_fleet_that_does_not_heal_is_seen() {
        assert_eq!(check(&made().then(What::Healed).then(What::Drained).history), []);
        assert_eq!(check(&made().put(&[1]).then(What::Healed).history).len(), 1);
        let mut late = made().then(What::Healed).then(What::Drained).history;
        late.events[1].at = Duration::from_secs(10_000);
        assert_eq!(check(&late).len(), 1);
    }
}
