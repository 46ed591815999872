//! Workers of both libraries on one stream and one table, and the steps of their story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::java::Java;
use crate::loopback::process::Process;
use crate::loopback::world::World;
use crate::now_ms;
use crate::report::{Limits, Row};
use crate::watch::{self, Sample, Watch};

/// The application, and its table.
pub(crate) const APP: &str = "orders-app";

/// A Java worker may take so long to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// After a step: what it repeated is counted for it, and the next one does not begin in its backlog.
const PAUSE: Duration = Duration::from_secs(3);

pub(crate) struct Fleet {
    pub(crate) world: World,
    java: Java,
    failover: Duration,
    watch: Watch,
    members: BTreeMap<String, Process>,
    pub(crate) rows: Vec<Row>,
}

/// Something that is done to the fleet, from now on.
pub(crate) struct Step {
    name: &'static str,
    from_ms: u64,
    /// What a worker owned that is gone, and since when it is.
    gone: Option<(BTreeSet<String>, u64)>,
    notes: Vec<String>,
}

impl Step {
    fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

impl Fleet {
    pub(crate) fn new(world: World, java: Java, failover: Duration) -> Self {
        let dynamo = aws_sdk_dynamodb::Client::new(&world.aws);
        let (watch, members) = (Watch::start(dynamo, APP), BTreeMap::new());
        Self { world, java, failover, watch, members, rows: Vec::new() }
    }

    pub(crate) fn begin(&self, name: &'static str) -> Step {
        println!("{name}: {:?}", self.watch.newest().counts());
        Step { name, from_ms: now_ms(), gone: None, notes: Vec::new() }
    }

    pub(crate) fn start_ours(&mut self, id: &str) {
        self.members.insert(id.to_owned(), self.world.consume(APP, id));
    }

    pub(crate) fn start_java(&mut self, id: &str) {
        let endpoint = self.world.endpoint().unwrap();
        let command = self.java.worker([&self.world.stream, APP, endpoint], self.failover, id);
        self.members.insert(id.to_owned(), self.world.start(id, command));
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, id: &str, step: &mut Step) {
        step.gone = Some((self.owned_by(id), now_ms()));
        self.members.remove(id).unwrap().kill().await;
    }

    /// SIGTERM, until the process has ended.
    pub(crate) async fn stop(&mut self, id: &str, step: &mut Step) {
        let (owned, begin) = (self.owned_by(id), now_ms());
        let process = self.members.remove(id).unwrap();
        process.terminate().await;
        let status = process.has_ended(STOP_LIMIT).await;
        let ended = now_ms();
        while self.watch.newest().at_ms < ended {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let newest = self.watch.newest();
        let still =
            newest.leases.values().filter(|l| !l.has_ended() && l.owner.as_deref() == Some(id));
        step.note(format!(
            "{id} ended {} ms after SIGTERM with {status}; the table still names it as owner of {} of its {} leases",
            ended - begin,
            still.count(),
            owned.len()
        ));
        step.gone = Some((owned, ended));
    }

    /// Java takes and steals ended leases, and counts them as load, until its cleanup deletes them.
    pub(crate) fn note_ended(&self, step: &mut Step) {
        let newest = self.watch.newest();
        for (key, lease) in newest.leases.iter().filter(|(_, lease)| lease.has_ended()) {
            let owner = lease.owner.as_deref().unwrap_or("nobody");
            step.note(format!("{key} has ended; its lease is owned by {owner}"));
        }
    }

    fn owned_by(&self, id: &str) -> BTreeSet<String> {
        let newest = self.watch.newest();
        let owned = newest.leases.iter().filter(|(_, lease)| lease.owner.as_deref() == Some(id));
        owned.filter(|(_, lease)| !lease.has_ended()).map(|(key, _)| key.clone()).collect()
    }

    /// Waits until what was left behind has an owner, all leases are shared by the living and `also` holds, then judges the step.
    pub(crate) async fn settle(
        &mut self,
        mut step: Step,
        limits: Limits,
        also: impl Fn(&Sample) -> bool,
    ) {
        let (mut taken, mut settled) = (None, None);
        while settled.is_none() && now_ms() < step.from_ms + limits.patience.as_millis() as u64 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let sample = self.watch.newest();
            if sample.at_ms < step.gone.as_ref().map_or(step.from_ms, |(_, since)| *since) {
                continue;
            }
            if let Some((gone, since_ms)) = step.gone.as_ref().filter(|_| taken.is_none()) {
                let alive = |key: &String| {
                    let lease = sample.leases.get(key);
                    lease.is_none_or(|lease| lease.has_ended() || self.has(lease.owner.as_deref()))
                };
                if gone.iter().all(alive) {
                    taken = Some(Duration::from_millis(sample.at_ms - since_ms));
                }
            }
            let workers: BTreeSet<&str> = self.members.keys().map(String::as_str).collect();
            let shared = if limits.balance {
                sample.is_balanced(&workers)
            } else {
                sample.counts().keys().all(|owner| workers.contains(owner))
            };
            if shared && also(&sample) {
                settled = Some(Duration::from_millis(sample.at_ms - step.from_ms));
            }
        }
        let counts = self.watch.newest();
        if settled.is_none() {
            step.note(format!("not settled: {:?}", counts.counts()));
        }
        tokio::time::sleep(PAUSE).await;
        let takeover = step.gone.is_some().then_some(taken);
        self.judge(step, &limits, takeover, Some(settled));
    }

    /// Lets the fleet alone for a while, then judges the step.
    pub(crate) async fn rest(&mut self, step: Step, limits: Limits) {
        tokio::time::sleep(limits.patience).await;
        self.judge(step, &limits, None, None);
    }

    fn has(&self, owner: Option<&str>) -> bool {
        owner.is_some_and(|owner| self.members.contains_key(owner))
    }

    fn judge(
        &mut self,
        mut step: Step,
        limits: &Limits,
        takeover: Option<Option<Duration>>,
        settled: Option<Option<Duration>>,
    ) {
        let (samples, until_ms) = (self.watch.samples(), now_ms());
        let silence = watch::longest_silence(&samples, step.from_ms, until_ms);
        let changes = watch::changes(&samples, step.from_ms, until_ms);
        if let Some(silence) = silence.as_ref().filter(|silence| silence.span() > self.failover) {
            step.notes.push(format!(
                "{} was silent for {:?}, last owned by {}",
                silence.lease,
                silence.span(),
                silence.owner.as_deref().unwrap_or("nobody")
            ));
        }
        for change in &changes {
            let name = |owner: &Option<String>| owner.clone().unwrap_or_else(|| "nobody".into());
            let (after, from, to) = (change.at_ms - step.from_ms, &change.from, &change.to);
            step.notes.push(format!(
                "{after:6} ms {} from {} to {}",
                change.lease,
                name(from),
                name(to)
            ));
        }
        let row = Row {
            name: step.name,
            workers: self.members.keys().cloned().collect(),
            from_ms: step.from_ms,
            until_ms,
            takeover,
            settled,
            silence: silence.map(|silence| silence.span()),
            changes: changes.len(),
            notes: step.notes,
            broken: Vec::new(),
        };
        self.rows.push(row.judged(limits));
    }

    /// Ends every process: nothing is to be read any more.
    pub(crate) async fn disband(&mut self) {
        for (_, process) in std::mem::take(&mut self.members) {
            process.kill().await;
        }
    }

    pub(crate) fn table(&self) -> Sample {
        self.watch.newest()
    }
}
