//! A history for people: a line an event, positions as the number of the record in its shard.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kcl_core::{Position, ShardId};
use kcl_lease::Lease;

use super::history::{History, Turn, What, short};
use crate::invariants::Violation;

impl History {
    /// What led to the first violation that has a place, or to the end: who owned what, and the last events.
    #[must_use]
    pub fn around(&self, violations: &[Violation], most: usize) -> String {
        let places = violations.iter().filter_map(|violation| violation.place.as_ref());
        let mut upto = self.clone();
        if let Some(at) = places.map(|(at, _)| *at).min() {
            let end = self.events.partition_point(|event| event.at <= at) + 5;
            upto.events.truncate(end);
        }
        format!("{}{}", upto.owners(), upto.render(Some(most)))
    }

    /// Who owned what, and since when: a line a shard.
    #[must_use]
    pub fn owners(&self) -> String {
        let mut lines: BTreeMap<&ShardId, (&str, String)> = BTreeMap::new();
        for event in &self.events {
            let (Some(shard), What::Wrote(write)) = (&event.shard, &event.what) else {
                continue;
            };
            let owner = match &write.after {
                None => "deleted",
                Some(lease) if lease.has_ended() => "ended",
                Some(lease) => lease.owner.as_ref().map_or("free", |owner| owner.as_str()),
            };
            let (newest, line) = lines.entry(shard).or_default();
            if *newest != owner {
                let _ = write!(line, "  {:.3} {owner}", event.at.as_secs_f64());
                *newest = owner;
            }
        }
        let line = |(shard, (_, line)): (&&ShardId, &(&str, String))| {
            format!("shard {:>3}{line}\n", short(shard))
        };
        lines.iter().map(line).collect()
    }

    /// One line an event; `last` limits it to that many from the end.
    #[must_use]
    pub fn render(&self, last: Option<usize>) -> String {
        let mut names = BTreeMap::new();
        let mut counts: BTreeMap<&ShardId, usize> = BTreeMap::new();
        for event in &self.events {
            if let (Some(shard), What::Put(seen)) = (&event.shard, &event.what) {
                let count = counts.entry(shard).or_default();
                *count += 1;
                names.insert((shard, &seen.position), *count);
            }
        }
        let from = last.map_or(0, |last| self.events.len().saturating_sub(last));
        let mut text = String::new();
        for event in &self.events[from..] {
            let name = |position: &Position| {
                let shard = event.shard.as_ref()?;
                names.get(&(shard, position)).map(|count| format!("#{count}"))
            };
            let name = |position: &Position| name(position).unwrap_or_else(|| position.to_string());
            let shard = event.shard.as_ref().map_or("-", |shard| short(shard));
            let _ = write!(text, "{:>9.3} {shard:>4} ", event.at.as_secs_f64());
            let _ = writeln!(text, "{}", describe(&event.what, &name));
        }
        text
    }
}

fn describe(what: &What, name: &dyn Fn(&Position) -> String) -> String {
    match what {
        What::Opened { parents, .. } => {
            format!("opened, parents {:?}", parents.iter().map(short).collect::<Vec<_>>())
        }
        What::Closed => "closed".into(),
        What::Put(seen) => format!("put {} k{}:{}", name(&seen.position), seen.key, seen.nth),
        What::Process(life, turn) => format!("{life} {}", words(*turn)),
        What::Finished(life, how) => format!("{life} finished: {how}"),
        What::Granted(life, position) => format!("{life} granted after {}", name(position)),
        What::Delivered(life, records) => {
            let ends = [records.first(), records.last()]
                .map(|end| end.map_or_else(String::new, |seen| name(&seen.position)));
            format!("{life} gets {}..{}", ends[0], ends[1])
        }
        What::Done(life, first, last) => format!("{life} done {}..{}", name(first), name(last)),
        What::Failed(life, how) => format!("{life} processor {how}"),
        What::SawTheEnd(life) => format!("{life} processor has seen the end"),
        What::Checkpointed(life, at) => format!("{life} is told that {} is durable", name(at)),
        What::Overlaps(life) => format!("{life} calls the processor a second time at once"),
        What::Reads(life) => format!("{life} asks for an iterator"),
        What::Rate(life, operation, calls) => {
            format!("{life} {operation}: {calls} within a second")
        }
        What::Holds(life, bytes) => format!("{life} holds {bytes} bytes of large payloads"),
        What::Wrote(write) => {
            let by = write.by.map_or_else(|| "operator".into(), |life| life.to_string());
            let lease = |lease: &Option<Lease>| match lease {
                None => "nothing".to_owned(),
                Some(lease) => format!(
                    "{}@{} {}",
                    lease.owner.as_ref().map_or("-", |owner| owner.as_str()),
                    lease.counter,
                    name(&lease.position)
                ),
            };
            let (before, after) = (lease(&write.before), lease(&write.after));
            format!("{by} wrote {before} -> {after}, sent {:.3}", write.issued.as_secs_f64())
        }
        What::Asked(by, to) => {
            let by = by.map_or_else(|| "operator".into(), |life| life.to_string());
            match to {
                Some(to) => format!("{by} asks for it for {to}"),
                None => format!("{by} takes a request back"),
            }
        }
        What::Refused(life) => format!("{life} write refused"),
        What::Malformed(life, what) => format!("{life} malformed: {what}"),
        What::Fault(life, fault) => format!("{life} fault: {fault}"),
        What::Weather(text) => format!("weather: {text}"),
        What::Healed => "healed".into(),
        What::Poisoned => "its processor fails from now on".into(),
        What::Cured => "its processor is mended".into(),
        What::Tries(trial) => format!("tried: {trial:?}"),
        What::Tried => "the trial is over".into(),
        What::Drained => "drained".into(),
        What::Stopping => "everybody is asked to stop".into(),
        What::Stopped => "stopped".into(),
    }
}

fn words(turn: Turn) -> &'static str {
    match turn {
        Turn::Starts => "starts",
        Turn::IsReady => "is ready",
        Turn::StreamIsReady => "reads the stream from now on",
        Turn::Crashes => "crashes",
        Turn::Stalls => "stalls",
        Turn::Resumes => "resumes",
        Turn::IsAskedToStop => "is asked to stop",
        Turn::LeavesTheStream => "reads the stream no longer",
        Turn::ReadsTheStream => "reads the stream again",
        Turn::EndedIt => "ended it",
        Turn::DrainedIt => "drained it",
        Turn::HandedItOver => "handed it over",
        Turn::LostIt => "lost it",
        Turn::HaltedIt => "halted it",
        Turn::AbandonedIt => "abandoned it",
    }
}
