use proptest::prelude::*;

use super::history::{History, Reshard, histories, id};
use super::*;

/// Originals 0 and 1; 0 splits into 2 and 3; 3 and 1 merge into 4: the picture at [`ShardGraph`].
fn pictured() -> Vec<Shard> {
    let mut history = History::new(2);
    history.apply(&Reshard::Split(0, 1 << 80));
    history.apply(&Reshard::Merge(1));
    history.shards
}

fn ids<'a>(shards: impl Iterator<Item = &'a Shard>) -> Vec<ShardId> {
    shards.map(|shard| shard.id.clone()).collect()
}

fn numbered(numbers: &[usize]) -> Vec<ShardId> {
    numbers.iter().copied().map(id).collect()
}

fn numbered_set(numbers: &[usize]) -> BTreeSet<ShardId> {
    numbers.iter().copied().map(id).collect()
}

fn owned(ids: BTreeSet<&ShardId>) -> BTreeSet<ShardId> {
    ids.into_iter().cloned().collect()
}

#[test]
fn the_pictured_lineage() {
    let graph = ShardGraph::new(pictured());
    assert_eq!(ids(graph.iter()), numbered(&[0, 1, 2, 3, 4]));
    assert_eq!(ids(graph.roots()), numbered(&[0, 1]));
    assert_eq!(ids(graph.open_shards()), numbered(&[2, 4]));
    assert_eq!(ids(graph.parents(&id(4))), numbered(&[1, 3]));
    assert_eq!(ids(graph.children(&id(0))), numbered(&[2, 3]));
    assert_eq!(owned(graph.ancestors(&id(4))), numbered_set(&[0, 1, 3]));
    assert_eq!(owned(graph.descendants(&id(0))), numbered_set(&[2, 3, 4]));
    assert_eq!(graph.shard(&id(4)).map(|shard| &shard.id), Some(&id(4)));
    assert_eq!((graph.len(), graph.is_empty()), (5, false));

    let covering: [&[usize]; 5] = [&[0, 1], &[1, 2, 3], &[2, 4], &[0, 4], &[0, 1, 2, 3, 4]];
    for numbers in covering {
        assert!(graph.covers_all_hash_keys(&numbered(numbers)), "{numbers:?}");
    }
    let leaking: [&[usize]; 5] = [&[], &[0], &[1, 2], &[1, 4], &[0, 9]];
    for numbers in leaking {
        assert!(!graph.covers_all_hash_keys(&numbered(numbers)), "{numbers:?}");
    }
}

#[test]
fn an_unlisted_shard_has_children_and_nothing_else() {
    let shards = pictured().into_iter().filter(|shard| shard.id != id(0));
    let graph = ShardGraph::new(shards);
    assert_eq!(graph.shard(&id(0)), None);
    assert_eq!(ids(graph.roots()), numbered(&[1, 2, 3]));
    assert_eq!(ids(graph.parents(&id(2))), numbered(&[]));
    assert_eq!(ids(graph.children(&id(0))), numbered(&[2, 3]));
    assert_eq!(owned(graph.descendants(&id(0))), numbered_set(&[2, 3, 4]));
    assert_eq!(owned(graph.ancestors(&id(4))), numbered_set(&[1, 3]));
    assert_eq!(ids(graph.children(&id(99))), numbered(&[]));
}

#[test]
fn of_two_pages_the_closed_shard_counts() {
    let shards = pictured();
    let mut stale = shards.clone();
    for shard in &mut stale {
        shard.ending_sequence_number = None;
    }
    let expected = ShardGraph::new(shards.clone());
    assert_eq!(ShardGraph::new(shards.iter().chain(&stale).cloned()), expected);
    assert_eq!(ShardGraph::new(stale.iter().chain(&shards).cloned()), expected);
}

#[test]
fn a_corrupt_lineage_is_walked_to_an_end() {
    let mut shards = History::new(3).shards;
    shards[0].parents = numbered(&[0, 1, 1]);
    shards[1].parents = numbered(&[2]);
    shards[2].parents = numbered(&[0]);
    let graph = ShardGraph::new(shards);
    assert_eq!(ids(graph.parents(&id(0))), numbered(&[1]));
    assert_eq!(ids(graph.roots()), numbered(&[]));
    for (shard, others) in [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])] {
        assert_eq!(owned(graph.ancestors(&id(shard))), numbered_set(&others));
        assert_eq!(owned(graph.descendants(&id(shard))), numbered_set(&others));
    }
}

proptest! {
    #[test]
    fn open_shards_tile_the_hash_keys(history in histories()) {
        let graph = ShardGraph::new(history.shards);
        let open = ids(graph.open_shards());
        prop_assert!(graph.covers_all_hash_keys(&open));
        let mut ranges: Vec<HashRange> = graph.open_shards().map(|shard| shard.hash_range).collect();
        ranges.sort_unstable();
        prop_assert!(ranges.is_sorted_by(|low, high| low.end() < high.start()));
    }

    #[test]
    fn a_child_takes_only_keys_of_its_parents(history in histories()) {
        let graph = ShardGraph::new(history.shards);
        for child in graph.iter().filter(|shard| !shard.parents.is_empty()) {
            let outside = HashRange::gaps([child.hash_range]);
            let parents = graph.parents(&child.id).map(|parent| parent.hash_range);
            prop_assert!(HashRange::gaps(parents.chain(outside)).is_empty(), "{child:?}");
        }
    }

    #[test]
    fn parents_first_there_is_an_order_of_all_shards(history in histories()) {
        let graph = ShardGraph::new(history.shards);
        let mut ordered = BTreeSet::new();
        while let Some(next) = graph.iter().find(|shard| {
            !ordered.contains(&shard.id) && graph.ancestors(&shard.id).is_subset(&ordered)
        }) {
            ordered.insert(&next.id);
        }
        prop_assert_eq!(ordered.len(), graph.len());
    }

    /// From the roots on, whichever closed shard is exchanged for its children, no hash key is left without a reader.
    #[test]
    fn a_frontier_that_moves_to_the_children_stays_whole(
        history in histories(),
        picks in prop::collection::vec(any::<usize>(), 1..9),
    ) {
        let graph = ShardGraph::new(history.shards);
        let mut frontier: BTreeSet<ShardId> = ids(graph.roots()).into_iter().collect();
        for pick in picks.into_iter().cycle() {
            prop_assert!(graph.covers_all_hash_keys(&frontier));
            let closed: Vec<ShardId> = frontier
                .iter()
                .filter(|id| graph.shard(id).is_some_and(|shard| !shard.is_open()))
                .cloned()
                .collect();
            let Some(ended) = closed.get(pick % closed.len().max(1)) else { break };
            frontier.remove(ended);
            frontier.extend(ids(graph.children(ended)));
        }
        let open: BTreeSet<ShardId> = ids(graph.open_shards()).into_iter().collect();
        prop_assert_eq!(frontier, open);
    }

    #[test]
    fn neither_order_nor_repetition_matters(
        (shards, listed) in histories().prop_flat_map(|history| {
            let twice = [history.shards.clone(), history.shards.clone()].concat();
            (Just(history.shards), Just(twice).prop_shuffle())
        })
    ) {
        prop_assert_eq!(ShardGraph::new(listed), ShardGraph::new(shards));
    }

    /// Any edges at all: to itself, in cycles, to shards that are not listed.
    #[test]
    fn ancestors_and_descendants_mirror_each_other(
        edges in prop::collection::vec((0..12usize, 0..16usize), 0..40)
    ) {
        let mut shards = History::new(12).shards;
        for (child, parent) in edges {
            shards[child].parents.push(id(parent));
        }
        let graph = ShardGraph::new(shards);
        for this in graph.iter() {
            prop_assert!(!graph.ancestors(&this.id).contains(&this.id));
            prop_assert!(!graph.descendants(&this.id).contains(&this.id));
            let ancestors_of_parents: BTreeSet<&ShardId> = graph
                .parents(&this.id)
                .flat_map(|parent| graph.ancestors(&parent.id).into_iter().chain([&parent.id]))
                .filter(|ancestor| **ancestor != this.id)
                .collect();
            prop_assert_eq!(graph.ancestors(&this.id), ancestors_of_parents);
            for that in graph.iter() {
                prop_assert_eq!(
                    graph.ancestors(&this.id).contains(&that.id),
                    graph.descendants(&that.id).contains(&this.id)
                );
                prop_assert_eq!(
                    graph.parents(&this.id).any(|parent| parent.id == that.id),
                    graph.children(&that.id).any(|child| child.id == this.id)
                );
            }
        }
    }
}
