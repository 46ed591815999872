//! Keeps one held lease: renews it, makes its checkpoints durable, ends it, gives it up, or finds it lost.
//!
//! One task per lease is the only writer of its item. What it does is decided by the machine; here the steps are taken.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kcl_core::leasing::{CheckpointError, HeldLease, LeaseTiming, Release};
use kcl_core::metrics::{self, ShardMetrics};
use kcl_core::{Clock, Position, Tasks, WorkerId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::calls::Calls;
use crate::coordinator::Message;
use crate::store::StoreError;
use crate::{Lease, LeaseKey};

mod asked;
mod handle;
mod machine;
mod words;

use handle::Handle;
use machine::Machine;
pub(crate) use words::{Freed, Gone};
use words::{Request, Step};

/// What all keepers of a worker share.
#[derive(Debug)]
pub(crate) struct Keeping {
    pub(crate) calls: Calls,
    pub(crate) timing: LeaseTiming,
    /// By which this process knows its writes.
    pub(crate) stride: u16,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    /// Where the end of a keeper is told.
    pub(crate) inbox: mpsc::Sender<Message>,
}

/// What the coordinator keeps of a keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    orders: mpsc::Sender<Box<Order>>,
    shared: Arc<Shared>,
}

/// The end of a keeper.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) key: LeaseKey,
    pub(crate) gone: Gone,
    /// The lease as the keeper's last write left it.
    pub(crate) last: Lease,
    /// After [`Gone::Ended`]: the children's leases as they were created.
    pub(crate) children: Vec<Lease>,
}

/// Queued in a box: a queue reserves room for 32.
#[derive(Debug)]
enum Order {
    Ask(Request, oneshot::Sender<Result<(), CheckpointError>>),
    Seen(Box<Lease>),
    /// This worker asks for it.
    Wanted(WorkerId),
    Leave,
    TableMissing,
}

/// What the keeper's task and its handles read and write without waiting.
#[derive(Debug)]
struct Shared {
    lost: CancellationToken,
    wanted: CancellationToken,
    cell: Mutex<Cell>,
}

#[derive(Debug)]
struct Cell {
    watermark: Position,
    valid_until: Instant,
    ended: bool,
}

impl Keeping {
    /// Starts to keep `lease`, as an own write that began at `begun` left it. The lease is freed when the handle is
    /// dropped without an end or a release.
    pub(crate) fn keep(
        self: &Arc<Self>,
        lease: Lease,
        begun: Instant,
        metrics: ShardMetrics,
        mut rng: fastrand::Rng,
    ) -> (Keeper, Arc<dyn HeldLease>) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (key, token, began) = (lease.key.clone(), lease.counter, lease.began());
        let watermark = lease.position.clone();
        let machine = Machine::new(lease, self.timing, self.stride, begun, &mut rng);
        let valid_until = machine.valid_until();
        let shared = Arc::new(Shared {
            lost: CancellationToken::new(),
            wanted: CancellationToken::new(),
            cell: Mutex::new(Cell { watermark, valid_until, ended: false }),
        });
        let abandoned = CancellationToken::new();
        let mut task = Task {
            keeping: self.clone(),
            key: key.clone(),
            machine,
            orders: inbox,
            shared: shared.clone(),
            abandoned: abandoned.clone(),
            children: Vec::new(),
            metrics,
            rng,
        };
        self.tasks.spawn(async move { task.run().await });
        let keeper = Keeper { orders: orders.clone(), shared: shared.clone() };
        let _abandoned = abandoned.drop_guard();
        (keeper, Arc::new(Handle { key, token, began, orders, shared, _abandoned }))
    }
}

impl Keeper {
    /// Tells what a scan showed of the lease.
    pub(crate) fn seen(&self, lease: &Lease) {
        // A full queue means that the keeper is busy with a write, which will show the same.
        let _ = self.orders.try_send(Box::new(Order::Seen(Box::new(lease.clone()))));
    }

    /// Tells that another worker asks for the lease.
    pub(crate) fn wanted(&self, by: &WorkerId) {
        // A full queue means that the keeper is busy; the next scan shows the same.
        let _ = self.orders.try_send(Box::new(Order::Wanted(by.clone())));
    }

    /// Revokes the grant, then frees the lease. The exit is told when that is durable.
    pub(crate) async fn leave(&self) {
        self.shared.lost.cancel();
        // A keeper that has gone has told its exit.
        let _ = self.orders.send(Box::new(Order::Leave)).await;
    }

    /// Revokes the grant, and writes no more.
    pub(crate) fn table_missing(&self) {
        self.shared.lost.cancel();
        // A full queue means that the keeper is busy with a write, which will show the same.
        let _ = self.orders.try_send(Box::new(Order::TableMissing));
    }
}

impl Shared {
    fn with<T>(&self, read: impl FnOnce(&mut Cell) -> T) -> T {
        read(&mut self.cell.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Task {
    keeping: Arc<Keeping>,
    key: LeaseKey,
    machine: Machine<oneshot::Sender<Result<(), CheckpointError>>>,
    orders: mpsc::Receiver<Box<Order>>,
    shared: Arc<Shared>,
    abandoned: CancellationToken,
    children: Vec<Lease>,
    metrics: ShardMetrics,
    rng: fastrand::Rng,
}

impl Task {
    /// Everything but waiting is on the heap, and only while it happens: most leases wait most of the time.
    async fn run(&mut self) {
        // A keeper whose task is dropped keeps nothing.
        let lost = self.shared.lost.clone().drop_guard();
        let gone = loop {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(*order);
            }
            let watermark = self.shared.with(|cell| cell.watermark.clone());
            match self.machine.next(self.keeping.clock.now(), &watermark) {
                Step::Exit(gone) => break gone,
                Step::Wait { until } => {
                    // What is durable already was answered without a write.
                    self.settle();
                    self.wait(until).await;
                }
                call => {
                    Box::pin(self.call(call)).await;
                    self.settle();
                }
            }
        };
        Box::pin(self.exit(gone, lost)).await;
    }

    async fn wait(&mut self, until: Instant) {
        let order = tokio::select! {
            biased;
            order = self.orders.recv() => order,
            () = self.abandoned.cancelled() => None,
            () = self.keeping.clock.sleep_until(until) => return,
        };
        match order {
            Some(order) => self.obey(*order),
            None => self.abandon(),
        }
    }

    async fn call(&mut self, step: Step) {
        let Keeping { calls, clock, .. } = &*self.keeping;
        match step {
            Step::Write { fence, change, until } => {
                let outcome = calls.update(&self.key, &fence, &change, until).await;
                self.machine.wrote(outcome, clock.now(), &mut self.rng);
            }
            Step::ReadBack { until } => {
                let found = calls.read(&self.key, until).await;
                self.machine.read(found, clock.now(), &mut self.rng);
            }
            Step::Create { child, until } => {
                let created = self.create(*child, until).await;
                let now = self.keeping.clock.now();
                self.machine.created(created, now, &mut self.rng);
            }
            Step::Wait { .. } | Step::Exit(_) => {}
        }
    }

    async fn exit(&mut self, gone: Gone, lost: DropGuard) {
        match gone {
            Gone::Ended | Gone::Freed(Freed::Released(_)) => drop(lost.disarm()),
            Gone::Freed(Freed::Left)
            | Gone::Taken(_)
            | Gone::Deleted
            | Gone::Silent
            | Gone::TableMissing => drop(lost),
        }
        self.shared.with(|cell| cell.ended = gone == Gone::Ended);
        self.settle();
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            self.obey(*order);
        }
        self.settle();
        let exit = Exit {
            key: self.key.clone(),
            gone,
            last: self.machine.lease().clone(),
            children: std::mem::take(&mut self.children),
        };
        // Without a coordinator there is nobody to tell.
        let _ = self.keeping.inbox.send(Message::Exited(Box::new(exit))).await;
    }

    /// Creates the lease of a child, unless it waits for another parent whose lease is still to come: that parent's
    /// reader, the last to end, creates it. Java workers would not wait for a parent without a lease.
    async fn create(&mut self, child: Lease, until: Instant) -> Result<(), StoreError> {
        let child = child.numbered(&mut self.rng);
        let calls = &self.keeping.calls;
        for parent in &child.parents {
            let parent = child.key.sibling(parent.clone());
            if parent != self.key && calls.read(&parent, until).await?.is_none() {
                tracing::info!(lease = %child.key, %parent, "child shard waits for its other parent");
                return Ok(());
            }
        }
        // One that is there already has another number.
        let is_new = calls.create(&child, until).await?;
        let there = if is_new { Some(child) } else { calls.read(&child.key, until).await? };
        self.children.extend(there);
        Ok(())
    }

    /// The consumer dropped its side: nobody reads the shard here any more.
    fn abandon(&mut self) {
        // Once is enough: the machine remembers it.
        self.abandoned = CancellationToken::new();
        self.ask(Request::Free(Freed::Released(Release::Stopping)));
    }

    fn ask(&mut self, request: Request) {
        self.machine.ask(request, oneshot::channel().0);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Ask(request, waiter) => {
                self.machine.ask(request, waiter);
            }
            Order::Seen(lease) => self.machine.seen(&lease),
            Order::TableMissing => self.machine.table_missing(),
            Order::Wanted(by) => {
                self.machine.wanted(by);
                self.shared.wanted.cancel();
            }
            Order::Leave => self.ask(Request::Free(Freed::Left)),
        }
    }

    /// Tells what is new: answers, the durable position, how long the lease is valid.
    fn settle(&mut self) {
        let valid_until = self.machine.valid_until();
        self.shared.with(|cell| cell.valid_until = valid_until);
        if self.machine.take_progress() {
            self.metrics.count(metrics::CHECKPOINTS);
        }
        for (waiter, answer) in self.machine.take_answers() {
            // Who does not wait any more does not need to know.
            let _ = waiter.send(answer);
        }
    }
}

/// Orders that may wait while a write is under way.
const ORDERS: usize = 64;

#[cfg(test)]
mod explore_tests;
