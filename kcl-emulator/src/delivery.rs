//! What comes of a request.

use crate::{EventStream, Fault, Reply};

/// What reaches the caller of a request.
#[derive(Debug)]
pub enum Delivery {
    /// The whole reply.
    Whole(Reply),
    /// The reply up to the end of this body; then the connection breaks.
    Cut(Reply),
    /// Events, until one of the two ends it.
    Stream(EventStream),
    /// The connection breaks without a reply.
    Lost,
}

impl Delivery {
    /// What a fault after the effect makes of it.
    pub(crate) fn troubled(self, fault: Fault) -> Self {
        match (self, fault) {
            (Self::Stream(events), fault) => Self::Stream(events.with_trouble(fault)),
            (Self::Whole(mut reply), Fault::CutBody { at }) => {
                reply.body.truncate(at);
                Self::Cut(reply)
            }
            (delivery, _) => delivery,
        }
    }
}
