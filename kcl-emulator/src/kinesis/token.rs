//! Opaque tokens: shard iterators and list tokens, readable by the account that made them only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// A secret of one [`super::Kinesis`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealer {
    secret: u128,
}

/// Kinds of token. One is never read as another.
pub(super) const ITERATOR: u8 = 1;
pub(super) const LIST_SHARDS: u8 = 2;
pub(super) const LIST_STREAMS: u8 = 3;
pub(super) const LIST_CONSUMERS: u8 = 4;

/// How long iterators and list tokens live, in milliseconds.
pub(super) const LIFE_MILLIS: u64 = 300_000;

/// AWS's iterators begin with these eight bytes.
const VERSION: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const TAG: usize = 16;

impl Sealer {
    pub(super) fn new(secret: u128) -> Self {
        Self { secret }
    }

    /// Writes `numbers` and `name` as a token of `kind`.
    pub(super) fn seal<const N: usize>(self, kind: u8, numbers: [u64; N], name: &str) -> String {
        let mut token = Vec::with_capacity(VERSION.len() + 8 * N + name.len() + TAG);
        token.extend(VERSION);
        token.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        token.extend(name.as_bytes());
        token.extend(self.tag(kind, &token));
        STANDARD.encode(token)
    }

    /// Reads what [`Sealer::seal`] wrote; `None` for anything else.
    pub(super) fn unseal<const N: usize>(
        self,
        kind: u8,
        token: &str,
    ) -> Option<([u64; N], String)> {
        let token = STANDARD.decode(token).ok()?;
        let (content, tag) = token.split_last_chunk::<TAG>()?;
        if self.tag(kind, content) != *tag {
            return None;
        }
        let mut rest = content.strip_prefix(&VERSION)?;
        let mut numbers = [0; N];
        for number in &mut numbers {
            let (head, tail) = rest.split_first_chunk()?;
            (*number, rest) = (u64::from_be_bytes(*head), tail);
        }
        Some((numbers, String::from_utf8(rest.to_vec()).ok()?))
    }

    fn tag(self, kind: u8, content: &[u8]) -> [u8; TAG] {
        Md5::new()
            .chain_update(self.secret.to_be_bytes())
            .chain_update([kind])
            .chain_update(content)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_maker_reads_a_token() {
        let ours = Sealer::new(1);
        let token = ours.seal(7, [1, u64::MAX], "orders");
        assert_eq!(ours.unseal(7, &token), Some(([1, u64::MAX], "orders".to_owned())));
        assert_eq!(ours.unseal::<2>(8, &token), None);
        assert_eq!(Sealer::new(2).unseal::<2>(7, &token), None);
        for at in 0..token.len() {
            let mut broken = token.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.unseal::<2>(7, &String::from_utf8(broken).unwrap()), None);
        }
        for garbage in ["", "AAAA", "not base64!"] {
            assert_eq!(ours.unseal::<2>(7, garbage), None);
        }
    }
}
