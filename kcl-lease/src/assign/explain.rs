//! Why a plan is what it is, in a sentence for whoever looks into a shard that nobody reads.

use std::fmt;

use kcl_core::WorkerId;

use super::{Board, Me, Move, Plan};

/// What a plan was decided from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Situation {
    startable: usize,
    workers: usize,
    target: usize,
    limit: Option<u32>,
    held: usize,
    coming: usize,
    others: Vec<(WorkerId, usize)>,
    /// Free ones that are left to workers that have fewer, or that there is no room for.
    pub(super) left: usize,
    blocked: usize,
    shunned: usize,
}

impl Situation {
    pub(super) fn new(board: &Board<'_>, me: &Me<'_>, target: usize) -> Self {
        let other =
            |(worker, load): (&&WorkerId, &super::Load<'_>)| ((*worker).clone(), load.leases);
        Self {
            startable: board.startable,
            workers: board.workers.len(),
            target,
            limit: me.max_leases.map(std::num::NonZeroU32::get),
            held: me.held.len(),
            coming: board.coming,
            others: board.loads.iter().map(other).collect(),
            left: 0,
            blocked: board.blocked,
            shunned: board.shunned,
        }
    }
}

impl Plan {
    /// The situation and the moves. The same text as long as nothing changes.
    pub(crate) fn explain(&self) -> String {
        let mut moves: Vec<_> = self.moves.iter().map(Move::explain).collect();
        moves.sort();
        let moves = if moves.is_empty() { "moves nothing".to_owned() } else { moves.join(", ") };
        format!("{}: {moves}", self.situation)
    }
}

impl Move {
    fn explain(&self) -> String {
        let owner = |lease: &crate::Lease| {
            lease.owner.as_ref().map_or("nobody".to_owned(), ToString::to_string)
        };
        match self {
            Self::Take(claim) => format!("takes {} ({})", claim.lease.key, claim.why),
            Self::Ask(claim) => {
                let (key, why) = (&claim.lease.key, claim.why);
                format!("asks {} for {key} ({why})", owner(&claim.lease))
            }
            Self::Steal(claim) => {
                let (key, why) = (&claim.lease.key, claim.why);
                format!("takes {key} from {} ({why})", owner(&claim.lease))
            }
        }
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { startable, workers, target, held, coming, .. } = self;
        write!(f, "{startable} leases can be read now, by {workers} workers: {target} for each")?;
        write!(f, "; this one has {held}")?;
        if *coming > 0 {
            write!(f, " and was promised {coming}")?;
        }
        if let Some(limit) = self.limit {
            write!(f, " (at most {limit})")?;
        }
        for (worker, leases) in &self.others {
            write!(f, "; {worker} has {leases}")?;
        }
        for (count, what) in [
            (self.left, "free ones are left to workers with fewer"),
            (self.blocked, "wait for a parent"),
            (self.shunned, "were halted by this worker, and wait for another one"),
        ] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plan_of;

    #[test]
    fn a_plan_says_why() {
        let table = [
            (
                "a:-",
                "",
                None,
                "1 leases can be read now, by 1 workers: 1 for each; this one has 0: takes a (free)",
            ),
            (
                "a:me b:me c:bar d:-",
                "a b",
                None,
                "4 leases can be read now, by 2 workers: 2 for each; this one has 2; bar has 1; 1 free ones are left to workers with fewer: moves nothing",
            ),
            (
                "a:bar b:bar c:bar d:me e:-<a shunned:-",
                "d",
                Some(9),
                "5 leases can be read now, by 2 workers: 3 for each; this one has 1 (at most 9); bar has 3; 1 wait for a parent; 1 were halted by this worker, and wait for another one: takes c from bar (balance)",
            ),
        ];
        for (leases, held, max, expected) in table {
            assert_eq!(plan_of(leases, held, max).explain(), expected, "{leases}");
        }
    }
}
