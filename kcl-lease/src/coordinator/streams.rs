//! The streams of a member, and the form of their lease keys.

use std::collections::BTreeMap;

use kcl_core::leasing::Member;
use kcl_core::{ShardId, StartFrom, Stream, StreamId};

use crate::{Lease, LeaseKey};

/// The streams of a member, and the form of their lease keys: with several streams, or with one.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) by_id: BTreeMap<StreamId, (Stream, StartFrom)>,
    several: bool,
}

impl Streams {
    pub(super) fn new(member: &Member) -> Self {
        let by_id = member.streams.iter();
        let by_id = by_id.map(|s| (s.0.id.clone(), s.clone())).collect();
        Self { by_id, several: member.several_streams }
    }

    pub(super) fn key(&self, stream: &StreamId, shard: &ShardId) -> LeaseKey {
        if self.several {
            LeaseKey::multi(stream.clone(), shard.clone())
        } else {
            LeaseKey::single(shard.clone())
        }
    }

    /// The stream that a lease belongs to; `None` when it is none of these.
    pub(super) fn of(&self, key: &LeaseKey) -> Option<&(Stream, StartFrom)> {
        match key.stream() {
            None if !self.several => self.by_id.values().next(),
            Some(stream) if self.several => self.by_id.get(stream),
            None | Some(_) => None,
        }
    }

    /// The leases of one stream.
    pub(super) fn leases<'a>(
        &self,
        stream: &StreamId,
        all: impl Iterator<Item = &'a Lease>,
    ) -> impl Iterator<Item = &'a Lease> {
        all.filter(move |lease| self.of(&lease.key).is_some_and(|s| s.0.id == *stream))
    }

    /// Why these streams must not be read with a table that holds such leases, and what to do.
    ///
    /// A worker that took the table for empty would start over, and skip or repeat records. Leases of other streams are
    /// fine beside its own: an application may have dropped some, or added one. A table that has only leases of other streams
    /// is most likely another application's.
    pub(super) fn refusal(&self, leases: &[Lease]) -> Option<String> {
        let first = leases.first()?;
        if let (false, Some(ours)) = (self.several, self.by_id.keys().next()) {
            let named = leases.iter().filter(|lease| lease.key.stream().is_none());
            let mut named = named.filter_map(|lease| Some((lease, lease.stream.as_ref()?)));
            if let Some((lease, stream)) = named.find(|(_, stream)| *stream != ours) {
                return Some(if is_successor(ours, stream) {
                    earlier(&lease.key)
                } else {
                    format!(
                        "its leases, such as {}, are of stream {stream}, and this worker reads {ours}; each application of one stream needs a table of its own",
                        lease.key
                    )
                });
            }
            let foreign = leases.iter().all(|lease| lease.key.stream().is_some());
            return foreign.then(|| format!("its leases, such as {}, are those of an application that reads several streams, and this worker reads one; give it all the streams of that application, or another table", first.key));
        }
        if leases.iter().all(|lease| lease.key.stream().is_none()) {
            return Some(format!(
                "its leases, such as {}, are those of an application that reads one stream, and this worker reads several; give it only that stream, or another table",
                first.key
            ));
        }
        let mut recreated = self.by_id.keys().filter_map(|id| Self::recreated(id, leases));
        if let Some(refusal) = recreated.next() {
            return Some(refusal);
        }
        let foreign = leases.iter().all(|lease| self.of(&lease.key).is_none());
        (foreign && !self.by_id.is_empty()).then(|| format!("its leases, such as {}, are all of streams that this worker does not read; if it is the table of this application let the worker read one of those streams as well until the others have leases, else choose another table", first.key))
    }

    /// Why a stream must not be read with a table of several that holds such leases: there are some of an earlier one of its name.
    pub(super) fn recreated(stream: &StreamId, leases: &[Lease]) -> Option<String> {
        let is_old =
            |lease: &&Lease| lease.key.stream().is_some_and(|other| is_successor(stream, other));
        leases.iter().find(is_old).map(|old| earlier(&old.key))
    }
}

/// Another stream with the same name.
fn is_successor(stream: &StreamId, other: &StreamId) -> bool {
    (stream.account(), stream.name()) == (other.account(), other.name()) && stream != other
}

fn earlier(key: &LeaseKey) -> String {
    format!(
        "lease {key} belongs to an earlier stream of the same name, which was deleted; if its records are no longer needed delete its leases, else choose another table"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn streams(ids: &[&str]) -> Streams {
        let stream = |id: &&str| {
            let id: StreamId = id.parse().unwrap();
            let address = id.name().as_str().parse().unwrap();
            (id.clone(), (Stream { id, address }, StartFrom::Latest))
        };
        Streams { by_id: ids.iter().map(stream).collect(), several: ids.len() != 1 }
    }

    fn refused(ours: &[&str], keys: &[&str]) -> bool {
        let lease =
            |key: &&str| Lease::new(LeaseKey::parse(key).unwrap(), kcl_core::Position::TrimHorizon);
        let leases: Vec<Lease> = keys.iter().map(lease).collect();
        streams(ours).refusal(&leases).is_some()
    }

    /// A14, A15, S13.
    #[test]
    fn a15_tables_of_another_mode_or_stream_or_of_an_earlier_one_are_refused() {
        let (one, two) = (["1:a:7"].as_slice(), ["1:a:7", "1:b:7"].as_slice());
        let table: [(&[&str], &[&str], bool); 14] = [
            (one, &[], false),
            (one, &["shard-0"], false),
            (one, &["1:a:7:shard-0"], true),
            // Somebody has changed the mode before, and made progress.
            (one, &["1:a:7:shard-0", "shard-0"], false),
            (two, &[], false),
            (two, &["1:a:7:shard-0"], false),
            (two, &["shard-0"], true),
            (two, &["shard-0", "1:b:7:shard-0"], false),
            // Streams that were dropped.
            (two, &["1:c:7:shard-0", "2:a:8:shard-0", "1:b:7:shard-0"], false),
            // Only those of others.
            (two, &["1:c:7:shard-0", "2:a:8:shard-0"], true),
            (two, &["1:c:7:shard-0"], true),
            // Keys of the other form among them: the mode was changed before.
            (two, &["1:c:7:shard-0", "shard-0"], true),
            (two, &["1:b:6:shard-0"], true),
            (two, &["1:b:7:shard-0", "1:b:8:shard-0"], true),
        ];
        for (ours, keys, expected) in table {
            assert_eq!(refused(ours, keys), expected, "{ours:?} {keys:?}");
        }
    }

    /// Where the key does not name the stream, our leases do.
    #[test]
    fn a15_a_table_of_another_stream_or_of_an_earlier_one_is_refused_to_one_stream() {
        let table = [
            (&[None][..], None),
            (&[Some("1:a:7"), None], None),
            (&[None, Some("1:a:6")], Some("an earlier stream of the same name")),
            (&[Some("1:b:7")], Some("are of stream 1:b:7, and this worker reads 1:a:7")),
            (&[Some("2:a:7")], Some("are of stream 2:a:7, and this worker reads 1:a:7")),
        ];
        for (names, expected) in table {
            let lease = |name: &Option<&str>| {
                let stream = name.map(|name| name.parse().unwrap());
                Lease { stream, ..Lease::new(key("shard-0"), kcl_core::Position::ShardEnd) }
            };
            let leases: Vec<_> = names.iter().map(lease).collect();
            let refusal = streams(&["1:a:7"]).refusal(&leases);
            match expected {
                None => assert_eq!(refusal, None),
                Some(part) => assert!(refusal.as_ref().unwrap().contains(part), "{refusal:?}"),
            }
        }
    }

    #[test]
    fn keys_name_the_stream_only_where_there_are_several() {
        let shard = key("s").shard().clone();
        let stream = "1:a:7".parse().unwrap();
        for (ours, text) in [(["1:a:7"].as_slice(), "s"), (&["1:a:7", "1:b:7"], "1:a:7:s")] {
            let streams = streams(ours);
            let key = streams.key(&stream, &shard);
            assert_eq!(key.to_string(), text);
            assert_eq!(streams.of(&key).unwrap().0.id, stream);
        }
        assert!(streams(&["1:a:7"]).of(&LeaseKey::multi(stream, shard)).is_none());
    }
}
