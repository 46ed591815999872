//! S16, memory is bounded: the payload bytes that a process holds, counted from outside, never exceed its budget.

use super::Violation;
use crate::sim::history::{History, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let budget = history.terms.budget;
    let mut violations = Vec::new();
    for event in &history.events {
        if let What::Holds(life, bytes) = event.what
            && bytes > budget
        {
            let what = format!("{life} holds {bytes} bytes, more than {budget}");
            violations.push(Violation::new("S16", Some(event), what));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_budget_that_is_not_kept_is_seen() {
        let holds = |bytes| made().then(What::Holds(ANA, bytes)).history;
        assert_eq!(check(&holds(1_000)), []);
        assert_eq!(check(&holds(usize::MAX)).len(), 1);
    }
}
