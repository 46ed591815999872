use std::collections::VecDeque;

use http_body_util::BodyExt;
use kcl_core::retrieval::MAX_REPLY_BYTES;
use proptest::prelude::*;

use super::*;

/// Frames as a transport delivers them.
struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn gate(budget: &ByteBudget, admission: &Arc<Admission>, frames: Vec<Bytes>) -> Gate {
    Gate {
        body: SdkBody::from_body_1_x(Frames(frames.into())),
        budget: budget.clone(),
        admission: admission.clone(),
        unread: Bytes::new(),
        open: 0,
        waiting: None,
    }
}

/// A message of this length, which begins with it.
fn message(length: u32) -> Vec<u8> {
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 7);
    message
}

async fn frame(gate: &mut Gate) -> Option<Bytes> {
    gate.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
}

async fn blocked(gate: &mut Gate) -> bool {
    let second = std::time::Duration::from_secs(1);
    tokio::time::timeout(second, gate.frame()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn s16_a_message_waits_for_the_budget_and_takes_no_more_than_its_size() {
    let budget = ByteBudget::new(MAX_REPLY_BYTES);
    let admission = Arc::<Admission>::default();
    let mut gate = gate(&budget, &admission, vec![message(1000).into(), message(2000).into()]);
    let mut others = budget.take(MAX_REPLY_BYTES - 999).await;
    assert!(blocked(&mut gate).await && admission.is_waiting());
    others.shrink_to(0);
    assert_eq!(frame(&mut gate).await.unwrap().len(), 1000);
    assert!(!admission.is_waiting());
    assert_eq!(budget.used(), 1000);
    let permit = admission.take().unwrap();
    assert_eq!(frame(&mut gate).await.unwrap().len(), 2000);
    assert_eq!(budget.used(), 3000);
    drop((permit, admission.take()));
    assert!(frame(&mut gate).await.is_none());
    assert_eq!(budget.used(), 0);
}

/// A thousand readers that open at once hold all of the budget; each first message comes in under what is held.
#[tokio::test(start_paused = true)]
async fn b8_the_first_message_comes_in_under_the_advance() {
    let budget = ByteBudget::new(MAX_REPLY_BYTES);
    let admission = Arc::new(Admission::new(budget.take(MAX_REPLY_BYTES).await));
    let messages = vec![message(100).into(), message(100).into()];
    let mut gate = gate(&budget, &admission, messages);
    assert_eq!(frame(&mut gate).await.unwrap().len(), 100);
    assert_eq!(budget.used(), 100);
    assert_eq!(frame(&mut gate).await.unwrap().len(), 100);
    assert_eq!(budget.used(), 100, "the first one's is back");
}

/// One that is too small is given back before more is asked for.
#[tokio::test(start_paused = true)]
async fn b8_an_advance_that_is_too_small_blocks_nobody() {
    let budget = ByteBudget::new(MAX_REPLY_BYTES);
    let admission = Arc::new(Admission::new(budget.take(MAX_REPLY_BYTES / 2).await));
    let large = message(u32::try_from(MAX_REPLY_BYTES).unwrap());
    let mut gate = gate(&budget, &admission, vec![large.into()]);
    assert_eq!(frame(&mut gate).await.unwrap().len(), MAX_REPLY_BYTES);
}

#[tokio::test(start_paused = true)]
async fn b6_a_message_that_comes_slowly_stirs() {
    let budget = ByteBudget::new(MAX_REPLY_BYTES);
    let admission = Arc::<Admission>::default();
    let message = Bytes::from(message(90));
    let frames = message.chunks(30).map(Bytes::copy_from_slice).collect();
    let mut gate = gate(&budget, &admission, frames);
    assert!(!admission.has_stirred());
    for _ in 0..2 {
        assert_eq!(frame(&mut gate).await.unwrap().len(), 30);
        assert!(admission.has_stirred() && !admission.has_stirred());
    }
    assert_eq!(frame(&mut gate).await.unwrap().len(), 30);
    drop(admission.take());
    assert!(!admission.has_stirred(), "complete");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_passes_as_it_is() {
    let budget = ByteBudget::new(MAX_REPLY_BYTES);
    let admission = Arc::<Admission>::default();
    for nonsense in [&b"no"[..], b"\0\0\0\x03abc", b"\xff\xff\xff\xffabc"] {
        let frames = vec![Bytes::copy_from_slice(nonsense)];
        let mut gate = gate(&budget, &admission, frames);
        assert_eq!(frame(&mut gate).await.unwrap(), nonsense);
        assert!(frame(&mut gate).await.is_none());
    }
    assert_eq!(budget.used(), 0);
}

proptest! {
    /// However a transport cuts the bytes, all pass, in order, and no frame has bytes of two messages.
    #[test]
    fn frames_are_cut_anywhere(
        lengths in prop::collection::vec(16_u32..300, 1..8),
        cuts in prop::collection::vec(1_usize..200, 1..40),
    ) {
        let all: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
        let mut frames = Vec::new();
        let (mut rest, mut cuts) = (Bytes::from(all.clone()), cuts.into_iter().cycle());
        while !rest.is_empty() {
            let cut = cuts.next().unwrap().min(rest.len());
            frames.push(rest.split_to(cut));
        }
        let budget = ByteBudget::new(MAX_REPLY_BYTES);
        let admission = Arc::<Admission>::default();
        let mut gate = gate(&budget, &admission, frames);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let passed = runtime.block_on(async {
            let (mut passed, mut left, mut lengths) = (Vec::new(), 0, lengths.iter());
            while let Some(bytes) = frame(&mut gate).await {
                if left == 0 {
                    left = *lengths.next().unwrap() as usize;
                    assert_eq!(admission.take().unwrap().bytes(), left);
                }
                left = left.checked_sub(bytes.len()).expect("one message at a time");
                passed.extend_from_slice(&bytes);
            }
            passed
        });
        prop_assert_eq!(passed, all);
        prop_assert_eq!(budget.used(), 0);
    }
}
