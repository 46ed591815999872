use std::time::Duration;

use kcl_core::Position;

use super::*;
use crate::testing::{key, lease, start};

const TEN: Duration = Duration::from_secs(10);
const SCAN: Duration = Duration::from_secs(2);

/// Plans for worker `me` on a table of text, one word per lease: `shard:owner`, an owner with `!` has expired, with
/// `!!` a scan interval ago, one with `?` has been silent for eight seconds; `-` is free, `-!` for a scan interval; `END` has ended. `<p` after the owner names a parent.
/// Returns the moves as sorted words: `+shard` for a take, `~shard` for a steal.
pub(super) fn plan_text(leases: &str, held: &str, max: Option<u32>) -> String {
    words(&plan_of(leases, held, max))
}

fn words(plan: &Plan) -> String {
    let word = |planned: &Move| match planned {
        Move::Take(claim) => format!("+{}", claim.lease.key),
        Move::Ask(claim) => format!("?{}", claim.lease.key),
        Move::Steal(claim) => format!("~{}", claim.lease.key),
    };
    let mut words: Vec<String> = plan.moves.iter().map(word).collect();
    words.sort();
    words.join(" ")
}

/// The plan behind it.
pub(super) fn plan_of(leases: &str, held: &str, max: Option<u32>) -> Plan {
    let now = start();
    let mut view = View::new(TEN);
    for word in leases.split_whitespace() {
        let (shard, rest) = word.split_once(':').unwrap();
        let (owner, parents) = rest.split_once('<').unwrap_or((rest, ""));
        let silent = match (owner.starts_with('-'), owner.matches('!').count()) {
            (_, 0) if owner.ends_with('?') => SCAN / 2 + TEN * 7 / 10,
            (_, 0) => Duration::ZERO,
            (true, _) => SCAN,
            (false, 1) => TEN,
            (false, _) => TEN + SCAN,
        };
        let owner = owner.trim_end_matches(['!', '?']);
        let mut lease = lease(shard, if matches!(owner, "-" | "END") { "" } else { owner }, 1);
        lease.parents =
            parents.split(',').filter(|p| !p.is_empty()).map(|p| p.parse().unwrap()).collect();
        if owner == "END" {
            lease.position = Position::ShardEnd;
        }
        view.observe(lease, now - silent);
    }
    let held = held.split_whitespace().map(key).collect();
    let me = Me {
        worker: &"me".parse().unwrap(),
        held: &held,
        shunned: &[key("shunned"), key("shunned2")].into(),
        heirs: &[key("heir"), key("heir2")].into(),
        waiting: &[key("waiting"), key("waiting2")].into(),
        asked: &BTreeMap::new(),
        patience: SCAN,
        max_leases: max.and_then(NonZeroU32::new),
    };
    plan(&view, &me, now, &mut fastrand::Rng::with_seed(7))
}

#[test]
fn what_is_taken() {
    let table = [
        // leases                              | held | moves
        ("a:-", "", "+a"),
        ("a:bar", "", ""), // first sight of an owned lease: not taken
        ("a:bar!", "", "+a"),
        ("a:-  b:-  c:-", "", "+a +b +c"),
        // Two workers, target 2 of 4.
        ("a:bar b:bar c:bar! d:bar!", "", "+c +d"),
        ("a:me b:bar c:-", "a", "+c"),
        ("a:me b:me c:bar d:-", "a b", ""), // at the target: left to bar
        ("a:me b:me c:bar d:-!", "a b", "+d"), // but bar had its turn
        ("a:me b:me c:bar d:baz!", "a b", ""),
        ("a:me b:me c:bar d:baz!!", "a b", "+d"),
        // What a crashed worker leaves comes free lease by lease: it is shared as if it were gone, and before that left alone.
        ("a:me b:me c:bar d:baz! e:baz? f:baz?", "a b", "+d"),
        ("a:me b:me c:bar d:baz! e:baz f:baz?", "a b", ""), // one sign of life is enough
        ("a:bar? b:bar? c:bar?", "", ""),
        ("a:me b:bar? c:bar? d:bar? e:-", "a", "+e"),
        // Children of what it read to its end: at once, regardless of the target.
        ("a:END b:bar heir:-<a heir2:-<a c:me", "c", "+heir +heir2"),
        ("a:bar heir:-<a", "", ""),
        // A free lease is taken before any is stolen, and never both at once.
        ("a:- b:bar c:bar d:bar", "", "+a"),
        // Own leases of an earlier life: at once, regardless of the target.
        ("a:me b:me c:me d:bar", "", "+a +b +c"),
        ("a:me b:me! c:bar", "a", "+b"),
        // Ended leases, and children of parents that have not ended, do not count and are not taken.
        ("a:END b:-<a c:-<a", "", "+b +c"),
        ("a:bar b:-<a c:-<a", "", ""),
        ("a:END b:bar m:-<a,b", "", ""),
        ("m:-<gone", "", "+m"),
        // Nor those that wait for a parent without a lease, even under this worker's id.
        ("waiting:- waiting2:me a:- b:bar", "", "+a"),
        ("waiting:me waiting2:me a:- b:bar", "waiting waiting2", ""), // what is held is load
        // What this worker halted.
        ("shunned:- a:-", "", "+a"),
        ("shunned:me a:-", "", "+a"),
    ];
    for (leases, held, moves) in table {
        assert_eq!(plan_text(leases, held, None), moves, "{leases} | {held}");
    }
}

#[test]
fn what_is_stolen() {
    let table = [
        // leases                                   | held | moves
        ("a:bar b:bar", "", "~b"),
        ("a:bar", "", ""),                     // one lease, two workers: stays
        ("a:bar b:bar c:me", "c", ""),         // a difference of one: stays
        ("a:bar b:bar c:bar d:me", "d", "~c"), // 3:1 -> 2:2
        ("a:bar b:baz c:baz d:baz e:baz f:baz", "", "~e ~f"), // from the most loaded
        ("a:bar b:bar c:bar d:bar e:baz f:baz g:baz h:baz", "", "~d ~h"), // ends at 3 3 2
        ("a:bar b:bar c:bar d:-<a e:-<a f:-<a", "", "~c"), // blocked ones do not count
        ("a:bar waiting:bar waiting2:bar", "", ""),
        ("a:bar shunned:bar shunned2:bar", "", "~a"),
        ("shunned:bar shunned2:bar", "", ""),
    ];
    for (leases, held, moves) in table {
        assert_eq!(plan_text(leases, held, None), moves, "{leases} | {held}");
    }
}

#[test]
fn max_leases_is_a_ceiling_for_every_rule() {
    let table = [
        ("a:- b:- c:-", "", 2, 2),
        ("a:-! b:-! c:-!", "", 1, 1),
        ("a:me b:me c:me", "", 2, 2),
        ("a:me b:-", "a", 1, 0),
        ("a:bar b:bar c:bar d:bar e:bar f:bar", "", 1, 1),
    ];
    for (leases, held, max, count) in table {
        let moves = plan_text(leases, held, Some(max));
        assert_eq!(moves.split_whitespace().count(), count, "{leases}: {moves}");
    }
}

#[test]
fn an_absent_parent_is_verified_until_the_child_has_progressed() {
    let (now, mut view) = (start(), View::new(TEN));
    let mut child = lease("child", "", 0);
    child.parents = ["a".parse().unwrap(), "b".parse().unwrap()].into();
    let ended = Lease { position: Position::ShardEnd, ..lease("a", "bar", 9) };
    view.observe(ended, now);
    for (position, verify) in
        [(Position::TrimHorizon, vec![key("b")]), (Position::at("5".parse().unwrap(), 0), vec![])]
    {
        child.position = position;
        view.observe(child.clone(), now);
        let none = BTreeSet::new();
        let worker = &"me".parse().unwrap();
        let me = Me {
            worker,
            held: &none,
            shunned: &none,
            waiting: &none,
            heirs: &none,
            asked: &BTreeMap::new(),
            patience: SCAN,
            max_leases: None,
        };
        let moves = plan(&view, &me, now, &mut fastrand::Rng::with_seed(1)).moves;
        let [Move::Take(claim)] = &moves[..] else { panic!("{moves:?}") };
        assert_eq!(claim.verify, verify);
    }
}

/// Plans for worker `me` on a table of text: `shard:owner`, an owner with `+` hands over on request; `>by` says who has asked.
/// `asked` names what this worker waits for, with `!` when the time is over. `?shard` asks.
fn plan_requests(leases: &str, held: &str, asked: &str, max: Option<u32>) -> String {
    plan_later(leases, held, asked, max, Duration::ZERO)
}

/// The same when nothing has changed for so long but the counters.
fn plan_later(leases: &str, held: &str, asked: &str, max: Option<u32>, later: Duration) -> String {
    let began = start();
    let now = began + later;
    let mut view = View::new(TEN);
    for at in [began, now] {
        for word in leases.split_whitespace() {
            let (shard, rest) = word.split_once(':').unwrap();
            let (owner, by) = rest.split_once('>').unwrap_or((rest, ""));
            let counter = (at - began).as_secs() + 1;
            let mut lease = lease(shard, owner.trim_end_matches('+').trim_matches('-'), counter);
            lease.cooperator = lease.owner.clone().filter(|_| owner.ends_with('+'));
            lease.handoff_to = (!by.is_empty()).then(|| by.parse().unwrap());
            view.observe(lease, at);
        }
    }
    let held = held.split_whitespace().map(key).collect();
    let deadline = |word: &str| {
        let late = word.ends_with('!');
        (key(word.trim_end_matches('!')), if late { now } else { now + SCAN })
    };
    let asked = asked.split_whitespace().map(deadline).collect();
    let none = BTreeSet::new();
    let me = Me {
        worker: &"me".parse().unwrap(),
        held: &held,
        shunned: &none,
        heirs: &none,
        waiting: &[key("waiting")].into(),
        asked: &asked,
        patience: SCAN,
        max_leases: max.and_then(NonZeroU32::new),
    };
    let planned = plan(&view, &me, now, &mut fastrand::Rng::with_seed(7));
    words(&planned)
}

#[test]
fn what_is_asked_for() {
    let table = [
        // leases, held, asked, moves
        ("who hands over is asked", "a:x+ b:x+ c:x+ d:x+", "", "", "?c ?d"),
        ("who does not is stolen from", "a:x b:x c:x d:x", "", "", "~c ~d"),
        ("each as it is", "a:x+ b:x+ c:x+ d:x", "", "", "?c ~d"),
        ("what is on its way counts", "a:x+ b:x+ c:x+ d:x+>me", "", "d", "?c"),
        ("not twice, and not too much", "a:x+ b:x+ c:x+>me d:x+>me", "", "c d", ""),
        ("also before the view shows it", "a:x+ b:x+ c:x+ d:x+", "", "c d", ""),
        ("what is late is taken", "a:x+ b:x+ c:x+>me d:x+>me", "", "c d!", "~d"),
        ("late ones first", "a:x+ b:x+ c:x+>me d:x+", "", "c!", "?d ~c"),
        ("not when it is not wanted any more", "a:x+ b:x+>me c:me d:me", "c d", "b!", ""),
        ("what others asked for is left alone", "a:x+ b:x+ c:x+>y d:x+>y", "", "", "?b"),
        ("and not yet theirs (seed 1690)", "a:y+ b:x+>y", "", "", ""),
        ("a request means nothing to Java", "a:x b:x c:x>y d:x>y", "", "", "~c ~d"),
        ("nor a request by the owner itself", "a:x+ b:x+>x", "", "", "?b"),
        ("one of an earlier life is made again", "a:x+ b:x+>me", "", "", "?b"),
        ("what has come is taken", "a:x+ b:x+ c:x+>me d:me", "", "c", "+d"),
        ("a difference of one moves nothing", "a:x+ b:x+ c:me", "c", "", ""),
        ("nor one that is on its way to nothing", "a:x+ b:x+>y c:me", "c", "", ""),
        ("its parents in doubt (seed 51007447)", "a:x+ b:x+ waiting:y+>me", "", "waiting", ""),
        ("until it is late", "a:x+ b:x+ waiting:y+>me", "", "waiting!", "?b"),
        ("free ones instead", "a:x+ b:x+ c:x+>me d:-", "", "c", "+d"),
    ];
    for (what, leases, held, asked, expected) in table {
        assert_eq!(plan_requests(leases, held, asked, None), expected, "{what}");
    }
}

#[test]
fn what_is_asked_for_keeps_max_leases() {
    let leases = "a:x+ b:x+ c:x+ d:x+ e:x+ f:x+";
    for (held, asked, max, expected) in
        [("", "", 1, "?f"), ("", "f", 1, ""), ("", "f", 2, "?e"), ("", "f!", 1, "~f")]
    {
        assert_eq!(plan_requests(leases, held, asked, Some(max)), expected, "{asked} {max}");
    }
}

/// Who asked has taken it after a lease duration, if it lives.
#[test]
fn a_request_that_nobody_follows_up_counts_no_longer() {
    let leases = "a:x+>gone b:x+>gone";
    assert_eq!(plan_later(leases, "", "", None, 2 * TEN - SCAN), "");
    assert_eq!(plan_later(leases, "", "", None, 2 * TEN), "?b");
}
