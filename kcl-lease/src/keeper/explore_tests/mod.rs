//! Every state that two workers and two leases can reach in eight steps from two beginnings.
//!
//! What decides is the real thing: [`View`], [`assign::plan`], the keeper's [`Machine`], and the memory store under its
//! conditions. What is replaced is time, which passes in steps of its own, and the tasks around: here each call is one step,
//! and any order of them is tried, breadth first, every state once (`world` says what a state and a step are).
//!
//! Checked at every step and state: what `world` finds wrong (S3, S4, S5, S7). Checked from every state: when both workers go
//! on as they would, without faults, everything is owned within a bounded time. A [`Rules`] value breaks the rules on
//! purpose, one at a time, to show that the search finds what follows.
//!
//! Two states count as one when they differ by the names of the workers, by the absolute time and counters, or by
//! durations beyond two lease durations. That leaves 31,269 states of two leases apart and 11,176 of parent and child to
//! depth eight, and 22,764 and 3,680 to depth five from where one worker holds all.
//!
//! Left out: torn and stale scans, requests that arrive late, leases that are deleted, failing reads. The simulation in
//! `tests/support` has them, at random.

use std::collections::{BTreeSet, VecDeque};

mod world;

use world::{Kind, Rules, World};

/// What a search saw.
struct Found {
    states: usize,
    steps: usize,
    /// The first thing that was wrong, and the shortest way to it.
    wrong: Option<String>,
}

fn explore(first: World, depth: usize) -> Found {
    let mut found = Found { states: 0, steps: 0, wrong: None };
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    // For each state the step that led there, and from where.
    let mut ways: Vec<(usize, String)> = Vec::new();
    let mut lively = BTreeSet::new();
    let mut open = VecDeque::new();
    seen.insert(first.key());
    ways.push((0, "beginning".to_owned()));
    open.push_back((first, 0, depth));
    while let Some((world, number, left)) = open.pop_front() {
        found.states += 1;
        if let Err(wrong) = world.clone().settles(&mut lively) {
            found.wrong = Some(format!("{wrong}\n{}", way(&ways, number)));
            return found;
        }
        if left == 0 {
            continue;
        }
        for step in world.steps() {
            found.steps += 1;
            let mut next = world.clone();
            let wrong = next.take(step).err();
            let key = next.key();
            if wrong.is_none() && seen.contains(&key) {
                continue;
            }
            ways.push((number, format!("{step:?}")));
            let number = ways.len() - 1;
            if let Some(wrong) = wrong {
                found.wrong = Some(format!("{wrong}\n{}", way(&ways, number)));
                return found;
            }
            seen.insert(key);
            open.push_back((next, number, left - 1));
        }
    }
    found
}

/// The steps to a state, one a line.
fn way(ways: &[(usize, String)], mut number: usize) -> String {
    let mut steps = Vec::new();
    while number != 0 {
        let (before, step) = &ways[number];
        steps.push(step.as_str());
        number = *before;
    }
    steps.reverse();
    steps.join("\n")
}

/// From nothing held; from everything held by one worker and seen by the other, which is five steps on.
const DEPTHS: [usize; 2] = [8, 5];

#[test]
fn c3_two_workers_and_two_leases_go_right_in_every_order_of_eight_steps() {
    for kind in [Kind::Apart, Kind::ParentAndChild] {
        let beginnings = World::beginnings(kind, Rules::default());
        for (first, depth) in beginnings.into_iter().zip(DEPTHS) {
            let Found { states, steps, wrong } = explore(first, depth);
            assert_eq!(wrong, None, "{kind:?}");
            assert!(states > 1_000 && steps > 2 * states, "{states} states, {steps} steps");
            println!("{kind:?} to depth {depth}: {states} states, {steps} steps");
        }
    }
}

#[test]
fn a_broken_rule_is_found_with_the_steps_that_lead_there() {
    let right = Rules::default();
    let table = [
        (Kind::Apart, Rules { expires_early: true, ..right }, "S5"),
        (Kind::Apart, Rules { ignores_fence: true, ..right }, "S4"),
        (Kind::Apart, Rules { takes_unclear_for_applied: true, ..right }, "S5"),
        (Kind::Apart, Rules { never_expires: true, ..right }, "L"),
        (Kind::ParentAndChild, Rules { ignores_parents: true, ..right }, "S7"),
        (Kind::ParentAndChild, Rules { takes_unclear_for_applied: true, ..right }, "S7"),
    ];
    for (kind, rules, invariant) in table {
        let beginnings = World::beginnings(kind, rules).into_iter().zip(DEPTHS);
        let wrong =
            beginnings.map(|(first, depth)| explore(first, depth).wrong.unwrap_or_default());
        for wrong in wrong {
            println!("{rules:?}\n{wrong}\n");
            assert!(wrong.starts_with(invariant), "{rules:?}: {wrong}");
        }
    }
}
