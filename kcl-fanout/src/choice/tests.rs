use kcl_core::Clock;

use super::*;

const S: Duration = Duration::from_secs(1);

/// What happens in a second.
#[derive(Debug, Clone, Copy)]
enum Is {
    /// Nothing worth a word.
    Well,
    /// Records, so many seconds behind.
    Behind(u64),
    /// … and half the second and more nobody asked for them.
    BehindAndIdle(u64),
    Crowded,
    Failing,
    CutShort,
    /// A consumer was found, or not.
    Found(bool),
}

struct Run {
    choice: Choice,
    begun: Instant,
    second: u32,
    failing_since: Option<Instant>,
}

impl Run {
    fn new(rules: Rules) -> Self {
        let begun = Clock::system().now();
        Self { choice: Choice::new(rules), begun, second: 0, failing_since: None }
    }

    /// What it does, and in which second, while this goes on for so long.
    fn go(&mut self, seconds: u32, is: Is) -> Vec<(u32, Step)> {
        let mut steps = Vec::new();
        for _ in 0..seconds {
            let now = self.begun + S * self.second;
            self.failing_since = match is {
                Is::Failing => self.failing_since.or(Some(now)),
                _ => None,
            };
            let mut step = None;
            match is {
                Is::Behind(lag) => self.choice.brought(S * lag as u32),
                Is::BehindAndIdle(lag) => {
                    self.choice.brought(S * lag as u32);
                    self.choice.was_idle(S * 6 / 10);
                }
                Is::Well => self.choice.brought(Duration::ZERO),
                Is::Found(is_there) => step = self.choice.prepared(is_there, now),
                Is::Crowded | Is::Failing | Is::CutShort => {}
            }
            let health = Health {
                failing_since: self.failing_since,
                crowded: matches!(is, Is::Crowded),
                cut_short: matches!(is, Is::CutShort),
            };
            let step = step.or_else(|| self.choice.step(health, now));
            steps.extend(step.map(|step| (self.second, step)));
            self.second += 1;
        }
        steps
    }
}

#[test]
fn polling_is_left_for_what_fan_out_would_better() {
    let behind = Why::Behind(S * 11);
    let table = [
        ("well", Is::Well, None),
        ("a little behind", Is::Behind(10), None),
        ("behind", Is::Behind(11), Some((30, behind))),
        ("behind, for the processor is slow", Is::BehindAndIdle(11), None),
        ("throttled by others", Is::Crowded, Some((30, Why::Crowded))),
        ("failing", Is::Failing, Some((60, Why::Failing))),
    ];
    for (name, is, expected) in table {
        let mut run = Run::new(Rules::BY_LOAD);
        let steps = run.go(100, is);
        let expected = expected.map(|(second, why)| (second, Step::Prepare(why)));
        assert_eq!(steps, Vec::from_iter(expected), "{name}");
        assert_eq!(run.choice.way(), Way::Polling, "{name}: until there is a consumer");
    }
}

#[test]
fn trouble_that_passes_is_forgotten() {
    let mut run = Run::new(Rules::BY_LOAD);
    for _ in 0..10 {
        for (seconds, is) in [(29, Is::Behind(60)), (1, Is::Well), (59, Is::Failing)] {
            assert_eq!(run.go(seconds, is), []);
        }
    }
}

#[test]
fn fan_out_is_kept_until_it_fails_and_not_tried_again_at_once() {
    let mut run = Run::new(Rules::BY_LOAD);
    let to_fan_out = Step::Change(Way::FanOut, Why::Crowded);
    assert_eq!(run.go(31, Is::Crowded), [(30, Step::Prepare(Why::Crowded))]);
    assert_eq!(run.go(1, Is::Found(true)), [(31, to_fan_out)]);
    assert_eq!(run.go(3_600, Is::Behind(60)), [], "nothing would be better");
    let begins = run.second;
    let back = Step::Change(Way::Polling, Why::Failing);
    assert_eq!(run.go(61, Is::Failing), [(begins + 60, back)]);
    let again = run.go(400, Is::Crowded);
    assert_eq!(again, [(begins + 60 + 300, Step::Prepare(Why::Crowded))]);
}

#[test]
fn without_a_consumer_polling_goes_on() {
    let mut run = Run::new(Rules::BY_LOAD);
    assert_eq!(run.go(31, Is::Crowded).len(), 1);
    assert_eq!(run.go(1, Is::Found(false)), []);
    let again = run.go(400, Is::Crowded);
    assert_eq!(again, [(31 + 300, Step::Prepare(Why::Crowded))]);
}

#[test]
fn who_reads_by_fan_out_polls_only_for_an_end_that_does_not_come() {
    let mut run = Run::new(Rules::BY_FAN_OUT);
    for is in [Is::Failing, Is::Behind(3_600), Is::Crowded] {
        assert_eq!(run.go(1_000, is), [], "{is:?}");
    }
    let cut = run.second;
    assert_eq!(run.go(1, Is::CutShort), [(cut, Step::Change(Way::Polling, Why::CutShort))]);
    assert_eq!(run.go(1_000, Is::Behind(3_600)), [], "no lag makes it change");
    let begins = run.second;
    assert_eq!(run.go(61, Is::Failing), [(begins + 60, Step::Prepare(Why::Failing))]);
}
