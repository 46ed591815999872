//! Runs the seeds of the simulation with one mutant switched on, until one fails.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{io, thread};

use kcl_testkit::mutants::SWITCH;

/// No seed may take longer: it hangs.
const LONGEST_SEED: Duration = Duration::from_secs(20);

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Seen with the last of so many seeds.
    Killed {
        /// How many seeds it took.
        seeds: u64,
        /// Which one saw it.
        seed: u64,
        /// The invariants that it violates, or `hang`, or `crash`.
        by: String,
    },
    /// Seen by none.
    Survived,
}

/// Hunts `mutant`, or nothing, with the seeds from `from` on.
pub(super) fn hunt(sim: &Path, mutant: Option<&str>, from: u64, seeds: u64) -> io::Result<Fate> {
    let mut command = Command::new(sim);
    command
        .args(["--seeds", &format!("{from}..{}", from + seeds), "--until-failure"])
        .env_remove(SWITCH)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(name) = mutant {
        command.env(SWITCH, name);
    }
    let mut child = command.spawn()?;
    let (sender, lines) = mpsc::channel();
    let output = child.stdout.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return; // enough was seen
                }
            }
        });
        let fate = judge(&lines, from);
        // Before the scope waits for the reader of its output.
        child.kill()?;
        child.wait()?;
        Ok(fate)
    })
}

/// Follows the lines of the program: each seed before it runs, then the outcome.
fn judge(lines: &Receiver<String>, from: u64) -> Fate {
    let mut seed = from;
    let killed = |seed: u64, by: &str| Fate::Killed { seeds: seed - from + 1, seed, by: by.into() };
    loop {
        let line = match lines.recv_timeout(LONGEST_SEED) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return killed(seed, "hang"),
            Err(RecvTimeoutError::Disconnected) => return killed(seed, "crash"),
        };
        if let Some(next) = line.strip_prefix("seed ").and_then(|seed| seed.parse().ok()) {
            seed = next;
        } else if line.starts_with("held ") {
            return Fate::Survived;
        } else if let Some(outcome) = line.strip_prefix("failed ") {
            let by = outcome.split_once("by=").map_or("?", |(_, by)| by);
            return killed(seed, by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_without_a_word_has_crashed() {
        let table: [(&[&str], Fate); 4] = [
            (&["seed 7", "held seeds=1"], Fate::Survived),
            (
                &["seed 7", "seed 8", "  S1 at 1 s: bad", "failed seed=8 after=2 by=S1,S6"],
                Fate::Killed { seeds: 2, seed: 8, by: "S1,S6".into() },
            ),
            (&["seed 7", "seed 8"], Fate::Killed { seeds: 2, seed: 8, by: "crash".into() }),
            (&[], Fate::Killed { seeds: 1, seed: 7, by: "crash".into() }),
        ];
        for (output, expected) in table {
            let (sender, lines) = mpsc::channel();
            for line in output {
                sender.send((*line).to_owned()).unwrap();
            }
            drop(sender);
            assert_eq!(judge(&lines, 7), expected, "{output:?}");
        }
    }
}
