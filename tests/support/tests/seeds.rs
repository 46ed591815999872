//! Seeds of the simulation: fixed ones, fresh ones, and one seed twice.
#![expect(clippy::disallowed_methods, reason = "the machine's time, for how long to go on")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kcl_testkit::sim::schedule::Schedule;
use kcl_testkit::sim::{self, Tier};

const WIRE_SEEDS: [u64; 5] = [18, 33, 36, 49, 55];

/// Fails with the seed, what it violates, and the end of its history.
fn check(tier: Tier, seed: u64) {
    let run = sim::play(tier, &Schedule::draw(seed));
    let option = if tier == Tier::Wire { " --wire" } else { "" };
    assert!(
        run.violations.is_empty(),
        "seed {seed}: {:#?}\n{}\nreplay: cargo run -p kcl-testkit --bin sim -- --seed {seed}{option} --trace",
        run.violations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        run.history.render(Some(80)),
    );
}

#[test]
fn a_seed_gives_the_same_history_every_time() {
    for seed in [1, 2, 3] {
        let first = sim::run(seed).history.render(None);
        assert!(first.lines().count() > 200, "seed {seed} does too little");
        assert_eq!(first, sim::run(seed).history.render(None), "seed {seed}");
    }
    assert_ne!(sim::run(1).history.render(None), sim::run(2).history.render(None));
}

#[test]
fn the_fixed_seeds_hold() {
    (0..20).for_each(|seed| check(Tier::Port, seed));
}

/// The same seed finds the same world at both tiers, and other histories in it.
#[test]
fn a_seed_gives_the_same_history_every_time_through_the_sdk() {
    let first = sim::play(Tier::Wire, &Schedule::draw(49)).history.render(None);
    assert!(first.lines().count() > 200, "the seed does too little");
    assert_eq!(first, sim::play(Tier::Wire, &Schedule::draw(49)).history.render(None));
    assert_ne!(first, sim::run(49).history.render(None));
}

/// Chosen for being short: small fleets, in rough weather all the same.
#[test]
fn the_fixed_seeds_hold_through_the_sdk() {
    WIRE_SEEDS.iter().for_each(|seed| check(Tier::Wire, *seed));
}

/// `KCL_SIM_BASE` replays; `KCL_SIM_SECONDS` runs longer than the eight seconds of every test run.
#[test]
fn fresh_seeds_hold() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let base = number("KCL_SIM_BASE").unwrap_or(now * 1_000);
    let seconds = number("KCL_SIM_SECONDS").unwrap_or(8);
    println!("fresh seeds from KCL_SIM_BASE={base}");
    let begun = Instant::now();
    for seed in base.. {
        check(Tier::Port, seed);
        if begun.elapsed() > Duration::from_secs(seconds) {
            println!("{} seeds", seed - base + 1);
            break;
        }
    }
}
