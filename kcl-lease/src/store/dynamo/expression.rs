//! A fenced change as DynamoDB expressions. Pure.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use kcl_core::WorkerId;

use crate::item::{
    CHECKPOINT, CHECKPOINT_SUB, CHILDREN, COOPERATOR, COUNTER, HANDOFF_TO, HAS_PROGRESSED, OWNER,
    OWNER_SWITCHES, PENDING, PENDING_STATE, PENDING_SUB, bytes, number, position, shards, text,
};
use crate::store::Change;
use crate::{Fence, Lease};

/// That nobody has written since; with the values that it compares with.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) expression: String,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Condition {
    pub(super) fn new(fence: &Fence) -> Self {
        let mut values = HashMap::from([(":seen".to_owned(), number(&fence.counter))]);
        let expression = match &fence.owner {
            Some(owner) => {
                values.insert(":holder".to_owned(), text(owner));
                "leaseCounter = :seen AND leaseOwner = :holder"
            }
            None => "leaseCounter = :seen AND attribute_not_exists(leaseOwner)",
        };
        Self { expression: expression.to_owned(), values }
    }

    /// And that this is who asks for the lease.
    fn asked_by(mut self, asker: Option<&WorkerId>) -> Self {
        match asker {
            Some(asker) => {
                self.values.insert(":asker".to_owned(), text(asker));
                self.expression += " AND handoffTo = :asker";
            }
            None => self.expression += " AND attribute_not_exists(handoffTo)",
        }
        self
    }
}

/// A conditional change; the values of both expressions are with the condition.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) condition: Condition,
    pub(super) expression: String,
}

impl Update {
    pub(super) fn new(fence: &Fence, change: &Change) -> Self {
        let mut actions = Actions::default();
        actions.set(COUNTER, number(&(fence.counter + change.step())));
        match &change.owner {
            Some(Some(worker)) => actions.set(OWNER, text(worker)),
            Some(None) => actions.remove(OWNER),
            None => {}
        }
        if let Some(owner) = &change.owner {
            actions.remove(HANDOFF_TO);
            if change.cooperates {
                actions.set_or_remove(COOPERATOR, owner.as_ref().map(text));
            }
        }
        if let Some(at) = &change.position {
            let (checkpoint, sub) = position(at);
            actions.set(CHECKPOINT, checkpoint);
            actions.set(CHECKPOINT_SUB, sub);
            actions.set(OWNER_SWITCHES, number(&0));
            if at.has_progressed() {
                actions.set(HAS_PROGRESSED, AttributeValue::Bool(true));
            }
        } else if change.switches_owner(fence.owner.as_ref()) {
            actions.add(OWNER_SWITCHES, number(&1));
        }
        if let Some(pending) = &change.pending {
            let (checkpoint, sub) = position(&pending.position);
            actions.set(PENDING, checkpoint);
            actions.set(PENDING_SUB, sub);
            actions.set_or_remove(PENDING_STATE, pending.state.as_ref().map(bytes));
        } else if change.position.is_some() {
            actions.remove(PENDING);
            actions.remove(PENDING_SUB);
            actions.remove(PENDING_STATE);
        }
        if let Some(children) = &change.children {
            actions.set_or_remove(CHILDREN, shards(children));
        }
        let heir = change.owner.as_ref().filter(|_| change.hands_over);
        let condition = Condition::new(fence);
        let condition = match heir {
            Some(heir) => condition.asked_by(heir.as_ref()),
            None => condition,
        };
        Self::of(condition, actions)
    }

    /// Sets or removes who asks for the lease, and nothing else.
    pub(super) fn asking(seen: &Lease, to: Option<&WorkerId>) -> Self {
        let mut actions = Actions::default();
        actions.set_or_remove(HANDOFF_TO, to.map(text));
        Self::of(Condition::new(&seen.fence()).asked_by(seen.handoff_to.as_ref()), actions)
    }

    fn of(mut condition: Condition, actions: Actions) -> Self {
        let expression = actions.expression();
        condition.values.extend(actions.values);
        Self { condition, expression }
    }
}

#[derive(Default)]
struct Actions {
    set: Vec<String>,
    remove: Vec<&'static str>,
    add: Vec<String>,
    values: HashMap<String, AttributeValue>,
}

impl Actions {
    fn set(&mut self, attribute: &'static str, value: AttributeValue) {
        self.set.push(format!("{attribute} = :{attribute}"));
        self.values.insert(format!(":{attribute}"), value);
    }

    fn add(&mut self, attribute: &'static str, value: AttributeValue) {
        self.add.push(format!("{attribute} :{attribute}"));
        self.values.insert(format!(":{attribute}"), value);
    }

    fn remove(&mut self, attribute: &'static str) {
        self.remove.push(attribute);
    }

    fn set_or_remove(&mut self, attribute: &'static str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(attribute),
        }
    }

    fn expression(&self) -> String {
        let remove: Vec<String> = self.remove.iter().map(|name| (*name).to_owned()).collect();
        let clauses = [("SET", &self.set), ("REMOVE", &remove), ("ADD", &self.add)];
        let clauses = clauses.into_iter().filter(|(_, actions)| !actions.is_empty());
        let clauses = clauses.map(|(word, actions)| format!("{word} {}", actions.join(", ")));
        clauses.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kcl_core::leasing::PendingCheckpoint;
    use kcl_core::{Position, WorkerId};

    use super::*;

    fn worker(id: &str) -> WorkerId {
        WorkerId::new(id).unwrap()
    }

    fn held_by_a() -> Fence {
        Fence { counter: 7, owner: Some(worker("a")) }
    }

    fn update(fence: &Fence, change: &Change) -> (String, BTreeMap<String, AttributeValue>) {
        let update = Update::new(fence, change);
        (update.expression, update.condition.values.into_iter().collect())
    }

    #[test]
    fn a_renewal_writes_the_counter_and_nothing_else() {
        let (expression, values) = update(&held_by_a(), &Change::default());
        assert_eq!(expression, "SET leaseCounter = :leaseCounter");
        assert_eq!(
            values,
            [(":holder", text("a")), (":leaseCounter", number(&8)), (":seen", number(&7))]
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        );
    }

    #[test]
    fn a_take_counts_a_switch_only_from_another_worker() {
        let take = |by| Change { owner: Some(Some(worker(by))), ..Change::default() };
        let free = Fence { counter: 7, owner: None };
        let plain = "SET leaseCounter = :leaseCounter, leaseOwner = :leaseOwner REMOVE handoffTo";
        assert_eq!(update(&free, &take("b")).0, plain);
        assert_eq!(update(&held_by_a(), &take("a")).0, plain);
        assert_eq!(
            update(&held_by_a(), &take("b")).0,
            format!("{plain} ADD ownerSwitchesSinceCheckpoint :ownerSwitchesSinceCheckpoint")
        );
        assert_eq!(
            Condition::new(&free).expression,
            "leaseCounter = :seen AND attribute_not_exists(leaseOwner)"
        );
    }

    #[test]
    fn a_checkpoint_clears_what_was_pending_and_a_release_the_owner() {
        let change =
            Change { owner: Some(None), position: Some(Position::ShardEnd), ..Change::default() };
        assert_eq!(
            update(&held_by_a(), &change).0,
            "SET leaseCounter = :leaseCounter, checkpoint = :checkpoint, \
             checkpointSubSequenceNumber = :checkpointSubSequenceNumber, \
             ownerSwitchesSinceCheckpoint = :ownerSwitchesSinceCheckpoint, \
             hasProgressed = :hasProgressed \
             REMOVE leaseOwner, handoffTo, pendingCheckpoint, pendingCheckpointSubSequenceNumber, \
             pendingCheckpointState"
        );
    }

    #[test]
    fn a_request_writes_itself_and_nothing_else() {
        let free = Lease { owner: Some(worker("a")), ..crate::testing::lease("s", "a", 7) };
        let asked = Lease { handoff_to: Some(worker("b")), ..free.clone() };
        let held = "leaseCounter = :seen AND leaseOwner = :holder";
        let asks = Update::asking(&free, Some(&worker("b")));
        assert_eq!(asks.expression, "SET handoffTo = :handoffTo");
        let unasked = format!("{held} AND attribute_not_exists(handoffTo)");
        assert_eq!(asks.condition.expression, unasked);
        let withdraws = Update::asking(&asked, None);
        assert_eq!(withdraws.expression, "REMOVE handoffTo");
        assert_eq!(withdraws.condition.expression, format!("{held} AND handoffTo = :asker"));
        assert_eq!(withdraws.condition.values[":asker"], text("b"));
    }

    #[test]
    fn a_lease_is_handed_over_only_to_who_asks() {
        let owner = Some(Some(worker("b")));
        let change = Change { owner, cooperates: true, hands_over: true, ..Change::default() };
        let update = Update::new(&held_by_a(), &change);
        assert_eq!(
            update.condition.expression,
            "leaseCounter = :seen AND leaseOwner = :holder AND handoffTo = :asker"
        );
        assert_eq!(
            update.expression,
            "SET leaseCounter = :leaseCounter, leaseOwner = :leaseOwner, cooperator = :cooperator \
             REMOVE handoffTo ADD ownerSwitchesSinceCheckpoint :ownerSwitchesSinceCheckpoint"
        );
    }

    #[test]
    fn an_announcement_without_state_leaves_no_older_state() {
        let pending = PendingCheckpoint { position: Position::TrimHorizon, state: None };
        let change = Change { pending: Some(pending), ..Change::default() };
        assert_eq!(
            update(&held_by_a(), &change).0,
            "SET leaseCounter = :leaseCounter, pendingCheckpoint = :pendingCheckpoint, \
             pendingCheckpointSubSequenceNumber = :pendingCheckpointSubSequenceNumber \
             REMOVE pendingCheckpointState"
        );
    }
}
