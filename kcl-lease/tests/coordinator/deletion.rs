//! Leases that an operator deletes, and children whose parents have no lease.

use std::collections::BTreeSet;
use std::time::Duration;

use kcl_core::kinesis::ApiErrorKind;
use kcl_core::{Position, Shard, StartFrom};
use kcl_lease::Lease;
use kcl_lease::store::{Change, LeaseStore, Outcome};

use crate::kinesis::Listing;
use crate::world::{DURATION, World, at, id, key};

const SECOND: Duration = Duration::from_secs(1);

/// The lease of a shard as it is made at its parents' end.
async fn create(world: &World, child: &Shard) {
    let lease = Lease {
        parents: child.parents.iter().cloned().collect(),
        hash_range: Some(child.hash_range),
        ..Lease::new(key(number(child)), Position::TrimHorizon)
    };
    assert!(world.store.plain().create(&lease).await.unwrap());
}

fn number(shard: &Shard) -> u32 {
    shard.id.as_str().trim_start_matches("shardId-").parse().unwrap()
}

/// A merged shard has a lease since the end of one parent, when that of the other is deleted, twice.
#[tokio::test(start_paused = true)]
async fn a_child_waits_for_a_parent_whose_lease_was_deleted_while_it_was_read() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.merge(0, 1);
    a.grant(0).lease.checkpoint(at(5)).await.unwrap();
    a.end(1).await.unwrap();
    for _ in 0..2 {
        let grants = world.grants_of(0);
        world.pass(SECOND).await;
        world.delete(0).await;
        world.until(2 * DURATION, || world.grants_of(0) > grants && a.count() == 1).await;
        // All of it is read once more: how far it was read is not known any more.
        assert_eq!(a.grant(0).position, Position::TrimHorizon);
        a.grant(0).lease.checkpoint(at(7)).await.unwrap();
    }
    world.pass(2 * DURATION).await;
    assert_eq!((a.shards(), world.grants_of(2)), ([id(0)].into(), 0));
    a.end(0).await.unwrap();
    let took = world.until(SECOND, || a.shards() == [id(2)].into()).await;
    assert!(took < SECOND / 10, "{took:?}");
}

/// The leases with which an application began at `LATEST` are deleted, while one of them is still to be read.
#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_read_from_the_start_that_only_its_childrens_leases_tell() {
    let world = World { start: StartFrom::Latest, ..World::new(2) };
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    let began = world.lease(1).await.started_at;
    world.kinesis.split(0); // 2, 3
    a.end(0).await.unwrap();
    world.until(SECOND, || a.count() == 3).await;
    for child in [2, 3] {
        let lease = world.lease(child).await;
        assert_eq!((lease.started_at, lease.application_start), (None, began));
        a.grant(child).lease.checkpoint(at(5)).await.unwrap();
    }
    world.kinesis.split(1); // 4, 5
    world.delete(0).await;
    world.delete(1).await;
    world.until(2 * DURATION, || world.grants_of(1) == 2).await;
    assert_eq!((&a.grant(1).position, a.grant(1).started_at), (&Position::AtTimestamp, began));
    assert_eq!((world.grants_of(4), world.grants_of(5)), (0, 0));
}

/// A worker died between making the leases of the children and the end of their parent.
#[tokio::test(start_paused = true)]
async fn both_halves_wait_for_a_parent_whose_lease_was_deleted() {
    for others in [0, 2] {
        let world = World::new(1);
        let a = world.worker("a").await;
        world.until(SECOND, || a.count() == 1).await;
        world.kinesis.split(0);
        for child in world.kinesis.shards() {
            if number(&child) > 0 {
                create(&world, &child).await;
            }
        }
        a.crash();
        world.delete(0).await;
        let mut heirs = vec![world.worker("heir").await];
        for n in 0..others {
            heirs.push(world.worker(&format!("other{n}")).await);
        }
        world.until(2 * DURATION, || world.grants_of(0) == 2).await;
        world.pass(2 * DURATION).await;
        assert_eq!((world.grants_of(1), world.grants_of(2)), (0, 0));
        let reader = heirs.iter().find(|heir| heir.shards().contains(&id(0))).unwrap();
        reader.end(0).await.unwrap();
        let all = || world.grants_of(1) == 1 && world.grants_of(2) == 1;
        world.until(SECOND * 3, all).await;
    }
}

/// It takes one listing to know that nobody will read the parents, however many children there are.
#[tokio::test(start_paused = true)]
async fn a_thousand_children_of_trimmed_parents_start_at_once_for_one_listing() {
    let world = World::new(1_000);
    for n in 0..1_000 {
        world.kinesis.follows_a_trimmed_shard(n);
    }
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1_000).await;
    assert_eq!(world.kinesis.listings(), 2, "the first shards, and all");
}

#[tokio::test(start_paused = true)]
async fn a_child_waits_until_the_shards_can_be_listed() {
    let world = World::new(1);
    world.kinesis.follows_a_trimmed_shard(0);
    let _a = world.worker("a").await;
    world.until(SECOND, || world.grants_of(0) == 1).await;

    let world = World::new(1);
    world.kinesis.follows_a_trimmed_shard(0);
    create(&world, &world.kinesis.shards()[0]).await;
    world.kinesis.next_listings([Listing::Fails(ApiErrorKind::Unavailable); 3]);
    let _a = world.worker("a").await;
    world.pass(DURATION).await;
    assert_eq!(world.grants_of(0), 0);
    world.until(DURATION, || world.grants_of(0) == 1).await;
    assert!(world.kinesis.is_well());
}

/// The whole generation has expired unread: the children's own children are all that is listed.
#[tokio::test(start_paused = true)]
async fn a_child_that_was_trimmed_itself_starts_after_half_a_minute() {
    let world = World::new(1);
    world.kinesis.split(0); // 1, 2
    world.kinesis.split(1); // 3, 4
    for child in world.kinesis.shards() {
        if [1, 2].contains(&number(&child)) {
            create(&world, &child).await;
        }
    }
    world.kinesis.trim(0);
    world.kinesis.trim(1);
    let a = world.worker("a").await;
    world.until(SECOND, || a.shards() == [id(2)].into()).await;
    let took = world.until(5 * DURATION, || a.count() == 2).await;
    assert!(took > 2 * DURATION, "{took:?}");
    assert_eq!(a.shards(), [id(1), id(2)].into());
}

/// The parent gets its lease at the end of the grandparent, which is read for an hour.
#[tokio::test(start_paused = true)]
async fn waiting_for_long_does_not_list_the_shards_more_often() {
    let world = World::new(1);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1).await;
    world.kinesis.split(0); // 1, 2
    world.kinesis.split(1); // 3, 4
    for child in world.kinesis.shards() {
        if [3, 4].contains(&number(&child)) {
            create(&world, &child).await;
        }
    }
    world.pass(2 * DURATION).await;
    let before = world.kinesis.listings();
    world.pass(Duration::from_secs(3_600)).await;
    let listings = world.kinesis.listings() - before;
    assert!((54..=66).contains(&listings), "{listings}");
    assert_eq!(a.shards(), [id(0)].into());
    a.end(0).await.unwrap();
    world.until(SECOND, || a.shards() == [id(1), id(2)].into()).await;
    a.end(1).await.unwrap();
    world.until(SECOND, || a.shards() == [id(2), id(3), id(4)].into()).await;
}

/// A write that is under way for long finds the lease of its own life, or none: not one with the same key.
#[tokio::test(start_paused = true)]
async fn a_delayed_write_of_a_deleted_lease_never_applies_to_the_new_one() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.split(0); // 2, 3
    a.end(0).await.unwrap();
    world.until(SECOND, || a.count() == 3).await;
    // One lease of a new application, one made at a shard's end; both are made anew by a survey.
    for n in [1, 2] {
        let mut lives: Vec<BTreeSet<(u64, bool)>> = Vec::new();
        for _ in 0..3 {
            let begun = world.store.writes().len();
            let grants = world.grants_of(n);
            a.grant(n).lease.checkpoint(at(5)).await.unwrap();
            world.pass(DURATION).await;
            let old = world.lease(n).await;
            let fences = world.store.writes().into_iter().skip(begun.saturating_sub(2));
            let fences = fences.filter(|(_, lease)| lease.key == key(n));
            lives.push(fences.map(|(_, l)| (l.counter, l.owner.is_some())).collect());
            world.delete(n).await;
            world.until(2 * DURATION, || world.grants_of(n) > grants && a.count() == 3).await;
            let back = Change { position: Some(at(3)), ..Change::default() };
            for _ in 0..40 {
                let late = world.store.plain().update(&key(n), &old.fence(), &back).await.unwrap();
                assert!(matches!(late, Outcome::Conflict(_)), "{late:?}");
                world.pass(SECOND / 4).await;
            }
        }
        for (n, life) in lives.iter().enumerate() {
            assert!(lives[..n].iter().all(|earlier| earlier.is_disjoint(life)), "{lives:?}");
        }
    }
}
