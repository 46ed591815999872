//! Trouble that belongs together, which chance alone would bring together too seldom. It is drawn from a generator of its own, and is
//! made of acts and settings like the rest of a schedule.

use std::time::Duration;

use super::schedule::{Act, Reading, Schedule, Trial};

/// So that what is drawn here is not what the schedule itself was drawn from.
const SALT: u64 = 0x7a5e_2b1d_93c4_f016;

impl Schedule {
    /// Adds what belongs together, by the seed.
    pub(super) fn add_rare(&mut self) {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ SALT);
        self.settings.rash = rng.u32(0..8) == 0;
        if rng.u32(0..6) == 0 {
            self.add_refused_stops(&mut rng);
        }
        if rng.u32(0..5) == 0 {
            self.add_late_answers(&mut rng);
        }
        if self.settings.large && !self.settings.limited {
            self.settings.page = self.settings.page.max(1_000);
            self.trials.push(Trial::Flood);
        }
        if rng.u32(0..12) == 0 && !self.settings.limited {
            self.trials.push(Trial::Absence);
        }
        if rng.u32(0..6) == 0 {
            self.settings.several = true;
            self.add_changes_of_streams(&mut rng);
            if !self.settings.limited {
                // Whoever came back looks after the stream as before.
                self.trials.extend([Trial::Leave, Trial::DeleteLease]);
            }
        }
        self.settings.reading = match rng.u32(0..12) {
            0 | 1 => Reading::FanOut,
            2 => Reading::Auto,
            3 | 4 => Reading::Mixed,
            _ => Reading::Polling,
        };
        let deploys = if self.settings.reading == Reading::Polling { 12 } else { 4 };
        if rng.u32(0..deploys) == 0 && !self.settings.limited {
            self.trials.insert(0, Trial::Deploy); // a flood leaves slow processors behind
        }
        self.acts.sort_by_key(|(at, _)| *at);
    }

    /// Workers that read the stream no longer, for a moment or for longer than leases last.
    fn add_changes_of_streams(&mut self, rng: &mut fastrand::Rng) {
        for _ in 0..rng.u32(0..8) {
            let at = self.any_time(rng);
            let span =
                self.settings.lease.mul_f64([0.01, 0.3, 2.0, 8.0][rng.usize(0..4)] * rng.f64());
            self.acts.push((at, Act::Unread { pick: rng.u32(..), span }));
        }
    }

    /// Stops whose last writes are refused.
    fn add_refused_stops(&mut self, rng: &mut fastrand::Rng) {
        for _ in 0..rng.u32(1..4) {
            let at = self.any_time(rng);
            let span = Duration::from_millis(rng.u64(50..3_000));
            let pause = Duration::from_millis(rng.u64(0..5_000));
            self.acts.push((at, Act::StopRefused { pick: rng.u32(..), span, pause }));
        }
    }

    /// Writes that arrive between the read that looks after them and their second sending, and then silence for as long as a
    /// lease lasts, while there are records to hand out.
    fn add_late_answers(&mut self, rng: &mut fastrand::Rng) {
        let lease = self.settings.lease;
        for _ in 0..rng.u32(1..4) {
            let at = self.any_time(rng);
            // A write is given up after a sixth of the lease duration.
            let late = lease / 6 + Duration::from_millis(rng.u64(15..90));
            let silent = lease.mul_f64(0.9 + 0.4 * rng.f64());
            self.acts.push((at, Act::LateThenSilent { pick: rng.u32(..), late, silent }));
            let puts = (1..=12).map(|nth| at + (lease / 8) * nth);
            self.acts.extend(
                puts.filter(|at| *at < self.heals_at).map(|at| (at, Act::Put { most: 15 })),
            );
        }
    }

    fn any_time(&self, rng: &mut fastrand::Rng) -> Duration {
        self.heals_at.mul_f64(0.05 + 0.75 * rng.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Often enough that a thousand seeds meet each many times, and seldom enough to leave room for all else.
    #[test]
    fn what_is_rare_is_in_one_of_five_to_thirty_seeds() {
        let schedules: Vec<_> = (0..1000).map(Schedule::draw).collect();
        let count = |is: &dyn Fn(&Schedule) -> bool| {
            schedules.iter().filter(|schedule| is(schedule)).count()
        };
        let acts = |schedule: &Schedule, is: fn(&Act) -> bool| {
            schedule.acts.iter().any(|(at, act)| *at < schedule.heals_at && is(act))
        };
        let counts = [
            count(&|schedule| schedule.settings.rash),
            count(&|schedule| acts(schedule, |act| matches!(act, Act::StopRefused { .. }))),
            count(&|schedule| schedule.trials.contains(&Trial::Flood)),
            count(&|schedule| schedule.trials.contains(&Trial::Absence)),
            count(&|schedule| schedule.trials.contains(&Trial::Deploy)),
            count(&|schedule| acts(schedule, |act| matches!(act, Act::Unread { .. }))),
            count(&|schedule| schedule.settings.reading == Reading::FanOut),
            count(&|schedule| schedule.settings.reading == Reading::Auto),
            count(&|schedule| schedule.settings.reading == Reading::Mixed),
        ];
        assert!(counts.iter().all(|count| (1000 / 30..=1000 / 5).contains(count)), "{counts:?}");
    }

    #[test]
    fn acts_stay_in_the_order_of_time() {
        for seed in 0..100 {
            assert!(Schedule::draw(seed).acts.is_sorted_by_key(|(at, _)| *at), "seed {seed}");
        }
    }
}
