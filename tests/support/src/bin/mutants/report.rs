//! What became of the mutants, as a page for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use kcl_testkit::mutants::Mutant;

use super::hunt::Fate;

/// The smallest share of the mutants, in percent, that must be killed.
const GOAL: usize = 95;

/// What became of all mutants that were hunted.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) from: u64,
    pub(super) seeds: u64,
    /// Of the library without a mutant.
    pub(super) unchanged: Fate,
    pub(super) mutants: Vec<(&'a Mutant, Fate)>,
}

impl Report<'_> {
    /// Whether enough mutants were killed, and the library without one holds.
    pub(super) fn is_good(&self) -> bool {
        let (killed, all) = self.rate();
        100 * killed >= GOAL * all && self.unchanged == Fate::Survived
    }

    /// How many were killed, of how many that can be.
    fn rate(&self) -> (usize, usize) {
        let count = |wanted: &dyn Fn(&Fate) -> bool| {
            let counted = self.mutants.iter().filter(|(mutant, _)| mutant.equivalent.is_none());
            counted.filter(|(_, fate)| wanted(fate)).count()
        };
        (count(&|fate| *fate != Fate::Survived), count(&|_| true))
    }

    /// The last lines: the rate, and whether the library holds without a mutant.
    pub(super) fn summary(&self) -> String {
        let (killed, all) = self.rate();
        let percent = 100.0 * killed as f64 / all.max(1) as f64;
        let equivalent = self.mutants.len() - all;
        let holds = match &self.unchanged {
            Fate::Survived => "Without a mutant, all of these seeds hold.".to_owned(),
            Fate::Killed { seed, by, .. } => {
                format!("**Without a mutant, seed {seed} fails ({by}): nothing below counts.**")
            }
        };
        format!(
            "{killed} of {all} mutants are killed by seeds {}..{} ({percent:.0} %; the goal is {GOAL} %); {equivalent} more are \
             equivalent. {holds}",
            self.from,
            self.from + self.seeds,
        )
    }

    /// The whole page.
    pub(super) fn page(&self) -> String {
        let mut page = format!("{HEAD}\n## Result\n\n{}\n\n", self.summary());
        page.push_str(
            "| invariant | mutants that it sees in their first failing seed |\n|---|---|\n",
        );
        for (invariant, count) in self.by_invariant() {
            let _ = writeln!(page, "| {invariant} | {count} |");
        }
        let mut area = "";
        for (mutant, fate) in &self.mutants {
            if mutant.area != area {
                area = &mutant.area;
                let _ = write!(page, "\n## {area}\n\n{TABLE}");
            }
            let (by, after) = match fate {
                Fate::Killed { by, seeds, .. } => (by.replace(',', ", "), seeds.to_string()),
                Fate::Survived if mutant.equivalent.is_some() => ("equivalent".into(), "".into()),
                Fate::Survived => ("**nothing**".into(), format!("more than {}", self.seeds)),
            };
            let _ = writeln!(page, "| `{}` | {} | {by} | {after} |", mutant.name, mutant.what);
        }
        self.survivors(&mut page);
        page
    }

    fn by_invariant(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for (_, fate) in &self.mutants {
            if let Fate::Killed { by, .. } = fate {
                for invariant in by.split(',') {
                    *counts.entry(invariant).or_default() += 1;
                }
            }
        }
        counts
    }

    fn survivors(&self, page: &mut String) {
        let survivors = self.mutants.iter().filter(|(_, fate)| *fate == Fate::Survived);
        let (equivalent, open): (Vec<&Mutant>, Vec<&Mutant>) =
            survivors.map(|(mutant, _)| *mutant).partition(|mutant| mutant.equivalent.is_some());
        if !open.is_empty() {
            page.push_str("\n## What would see the survivors\n\n");
        }
        for mutant in open {
            let needs = mutant.needs.as_deref().unwrap_or("not known yet");
            let _ = writeln!(page, "- `{}`: {needs}", mutant.name);
        }
        if !equivalent.is_empty() {
            page.push_str("\n## Why the equivalent ones cannot be seen\n\n");
        }
        for mutant in equivalent {
            let why = mutant.equivalent.as_deref().unwrap_or_default();
            let _ = writeln!(page, "- `{}`: {why}", mutant.name);
        }
    }
}

const TABLE: &str = "| mutant | the bug | killed by | seeds until then |\n|---|---|---|---|\n";

const HEAD: &str = "\
# Mutants

Does the [simulation](simulation.md) find bugs? Each mutant is a one-line bug that a person could write by mistake, planted in
`kcl-core` or `kcl-lease`. The seeds of the simulation run against it until an invariant sees it. Random seeds alone must do: no
test of the library runs.

```console
$ just mutants                                  # all of them, up to 1,000 seeds each; exit code 1 below the goal
$ just mutants --only children-do-not-wait      # one
$ just mutants --from 50000 --seeds 200         # with other seeds
$ just mutants --report docs/mutants.md         # writes this page
```

The mutants are listed in `tests/support/mutants`, one file for each area. They are applied to a copy of the workspace
(`target/mutants/tree`), all at once and each behind a switch, so that none can reach a release. A change of the library that moves
a line which a mutant changes fails `cargo test -p kcl-testkit` with the name of the mutant to mend.

A seed that takes more than 20 s counts as `hang`, a process that dies as `crash`. `panic` is one that nobody planned.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(name: &str, equivalent: Option<&str>) -> Mutant {
        Mutant {
            area: "fence".into(),
            name: name.into(),
            what: "a bug".into(),
            file: "lib.rs".into(),
            from: "a".into(),
            to: "{{on}}".into(),
            equivalent: equivalent.map(Into::into),
            needs: None,
        }
    }

    #[test]
    fn equivalent_mutants_are_listed_and_do_not_count() {
        let killed = || Fate::Killed { seeds: 3, seed: 2, by: "S1,S6".into() };
        let (seen, unseen) = (mutant("seen", None), mutant("unseen", None));
        let same = mutant("same", Some("no difference"));
        let report = |fate, unchanged| Report {
            from: 0,
            seeds: 1000,
            unchanged,
            mutants: vec![(&seen, killed()), (&unseen, fate), (&same, Fate::Survived)],
        };
        let good = report(killed(), Fate::Survived);
        assert!(good.is_good());
        assert!(good.summary().starts_with("2 of 2 mutants"), "{}", good.summary());
        assert!(good.page().contains("| `seen` | a bug | S1, S6 | 3 |"), "{}", good.page());
        assert!(good.page().contains("- `same`: no difference"));
        let bad = report(Fate::Survived, Fate::Survived);
        assert!(!bad.is_good());
        assert!(bad.page().contains("- `unseen`: not known yet"));
        assert!(!report(killed(), killed()).is_good(), "the library itself fails");
    }
}
