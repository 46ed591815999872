//! Wire, what the library says is well-formed: no service refuses a request as malformed, and every item that it writes is a
//! lease in the format of the Java KCL 2.x.

use super::Violation;
use crate::sim::history::{History, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let malformed = history.events.iter().filter_map(|event| match &event.what {
        What::Malformed(life, what) => {
            Some(Violation::new("Wire", Some(event), format!("{life}: {what}")))
        }
        _ => None,
    });
    malformed.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_malformed_request_is_seen() {
        assert_eq!(check(&made().taken(ANA).history), []);
        let what = "UpdateItem: ValidationException".to_owned();
        assert_eq!(check(&made().then(What::Malformed(ANA, what)).history).len(), 1);
    }
}
