//! How often things go wrong in a run: drawn from its seed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::schedule::Part;
use super::weather::Fate;

/// Chances in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chances {
    /// Of [`Fate::Throttled`].
    pub throttled: u32,
    /// Of [`Fate::Before`].
    pub before: u32,
    /// Of [`Fate::After`].
    pub after: u32,
    /// Of [`Fate::HangBefore`] and [`Fate::HangAfter`].
    pub hang: u32,
    /// Of [`Fate::Late`].
    pub late: u32,
}

/// How often things go wrong. The default is never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Climate {
    /// For calls to the lease table.
    pub store: Chances,
    /// For calls to Kinesis.
    pub kinesis: Chances,
    /// For calls to processors, in thousandths: slow, fails, panics, hangs.
    pub moods: (u32, u32, u32, u32),
    /// Of strange answers of Kinesis, in thousandths.
    pub oddities: u32,
    /// How old what a scan shows of one lease may be.
    pub staleness: Duration,
    /// How far wall clocks may be off.
    pub skew: Duration,
}

impl Climate {
    pub(super) fn draw(rng: &mut fastrand::Rng, by_wall_clock: bool) -> Self {
        let calm = rng.u32(0..8) == 0;
        let mut chance = |most: u32| {
            if calm || rng.bool() { 0 } else { rng.u32(0..=most) }
        };
        let mut chances = || Chances {
            throttled: chance(150),
            before: chance(80),
            after: chance(80),
            hang: chance(20),
            late: chance(30),
        };
        let (store, kinesis) = (chances(), chances());
        let moods = (chance(200), chance(80), chance(40), chance(5));
        let oddities = chance(30);
        let staleness = Duration::from_millis(rng.u64(0..4) * 500);
        // `LATEST` is a time of the host that creates the leases, with two seconds of allowance.
        let most = if by_wall_clock { 1_500 } else { 86_400_000 };
        let skew = Duration::from_millis(if rng.bool() { 0 } else { most });
        Self { store, kinesis, moods, oddities, staleness, skew }
    }

    pub(super) fn leave_out(&mut self, parts: &BTreeSet<Part>) {
        let calm = Self::default();
        for part in parts {
            match part {
                Part::Store => self.store = calm.store,
                Part::Kinesis => self.kinesis = calm.kinesis,
                Part::Oddities => self.oddities = calm.oddities,
                Part::Staleness => self.staleness = calm.staleness,
                Part::Moods => self.moods = calm.moods,
                Part::Skew => self.skew = calm.skew,
                Part::Trials => {}
            }
        }
    }
}

impl Chances {
    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> Fate {
        let draw = rng.u32(0..1000);
        let mut bound = 0;
        let mut hit = |chance: u32| {
            bound += chance;
            draw < bound
        };
        if hit(self.throttled) {
            Fate::Throttled
        } else if hit(self.before) {
            Fate::Before
        } else if hit(self.after) {
            Fate::After
        } else if hit(self.hang) {
            if rng.bool() { Fate::HangBefore } else { Fate::HangAfter }
        } else if hit(self.late) {
            Fate::Late(Duration::from_millis(rng.u64(50..12_000)))
        } else {
            Fate::Clear
        }
    }
}
