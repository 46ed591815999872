//! Looks for the shortest schedule that still fails: leaves out parts, then acts by halves, quarters, … down to one by one.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::schedule::{Cut, Part, Schedule};
use super::{Run, Tier, play};

/// A failing schedule, cut down.
#[derive(Debug)]
pub struct Shrunk {
    /// What is left of the seed's schedule.
    pub cut: Cut,
    /// How that is played.
    pub run: Run,
    /// How many schedules were tried.
    pub tries: usize,
}

/// Cuts down a schedule for as long as it violates one of the invariants that the whole one violates, with `tries` at the
/// most. `None` when it does not fail.
#[must_use]
pub fn shrink(tier: Tier, schedule: Schedule, tries: usize) -> Option<Shrunk> {
    let run = play(tier, &schedule);
    if run.violations.is_empty() {
        return None;
    }
    let wanted: Vec<&'static str> = run.violations.iter().map(|found| found.invariant).collect();
    let mut search = Search { tier, schedule, wanted, left: tries, best: (Cut::default(), run) };
    for part in Part::ALL {
        let mut cut = search.best.0.clone();
        cut.without.insert(part);
        search.attempt(cut);
    }
    search.halve();
    let (cut, run) = search.best;
    Some(Shrunk { cut, run, tries: tries - search.left })
}

struct Search {
    tier: Tier,
    schedule: Schedule,
    wanted: Vec<&'static str>,
    left: usize,
    best: (Cut, Run),
}

impl Search {
    /// Plays the schedule with this cut, and keeps the cut if it still fails.
    fn attempt(&mut self, cut: Cut) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let run = play(self.tier, &self.schedule.clone().cut(&cut));
        let fails = self.wanted.iter().any(|invariant| run.violates(invariant));
        if fails {
            self.best = (cut, run);
        }
        fails
    }

    /// Delta debugging: leaves out ever smaller pieces of what is left.
    fn halve(&mut self) {
        let all: BTreeSet<usize> = (0..self.schedule.acts.len()).collect();
        let mut size = all.len().div_ceil(2).max(1);
        let mut kept = all;
        loop {
            let mut shorter = false;
            let pieces: Vec<Vec<usize>> =
                kept.iter().copied().collect::<Vec<_>>().chunks(size).map(<[_]>::to_vec).collect();
            for piece in pieces {
                let rest: BTreeSet<usize> =
                    kept.iter().copied().filter(|act| !piece.contains(act)).collect();
                let cut = Cut { acts: Some(rest.clone()), ..self.best.0.clone() };
                if self.attempt(cut) {
                    (kept, shorter) = (rest, true);
                }
            }
            if self.left == 0 || kept.is_empty() || (size == 1 && !shorter) {
                return;
            }
            size = (size / 2).max(1);
        }
    }
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Trials,
        Self::Moods,
        Self::Oddities,
        Self::Kinesis,
        Self::Skew,
        Self::Staleness,
        Self::Store,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Kinesis => "kinesis",
            Self::Oddities => "oddities",
            Self::Staleness => "staleness",
            Self::Moods => "moods",
            Self::Skew => "skew",
            Self::Trials => "trials",
        }
    }
}

impl Cut {
    /// The arguments that play a seed with this cut.
    #[must_use]
    pub fn arguments(&self) -> String {
        let mut text = String::new();
        if let Some(acts) = &self.acts {
            let acts: Vec<_> = acts.iter().map(ToString::to_string).collect();
            let _ = write!(
                text,
                " --acts {}",
                if acts.is_empty() { "none".into() } else { acts.join(",") }
            );
        }
        if !self.without.is_empty() {
            let parts: Vec<_> = self.without.iter().map(|part| part.name()).collect();
            let _ = write!(text, " --without {}", parts.join(","));
        }
        text
    }
}

impl Schedule {
    /// The schedule for people: settings, climate, and a line an act.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("{:?}\n{:?}\n", self.settings, self.climate);
        for (at, act) in &self.acts {
            let _ = writeln!(text, "{:>9.3} {act:?}", at.as_secs_f64());
        }
        let _ =
            writeln!(text, "{:>9.3} heals; then {:?}", self.heals_at.as_secs_f64(), self.trials);
        text
    }
}
