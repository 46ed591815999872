//! The bounds of members: what AWS answers with `ValidationException`, all failures of a request at once.

use super::error::{Code, Error};
use super::hash_range;

/// Collects failures; [`Checks::finish`] reports them.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<String>);

impl Checks {
    /// Notes that `member` breaks `constraint` unless `holds`.
    pub(super) fn check(&mut self, holds: bool, member: &str, constraint: impl FnOnce() -> String) {
        if !holds {
            self.0.push(format!(
                "Value at '{member}' failed to satisfy constraint: {}",
                constraint()
            ));
        }
    }

    pub(super) fn present<T>(&mut self, member: &str, value: Option<&T>) {
        self.check(value.is_some(), member, || "Member must not be null".to_owned());
    }

    pub(super) fn at_least(&mut self, member: &str, length: usize, minimum: usize) {
        self.check(length >= minimum, member, || {
            format!("Member must have length greater than or equal to {minimum}")
        });
    }

    pub(super) fn at_most(&mut self, member: &str, length: usize, maximum: usize) {
        self.check(length <= maximum, member, || {
            format!("Member must have length less than or equal to {maximum}")
        });
    }

    pub(super) fn between(&mut self, member: &str, value: Option<i64>, minimum: i64, maximum: i64) {
        let Some(value) = value else { return };
        self.check(value >= minimum, member, || {
            format!("Member must have value greater than or equal to {minimum}")
        });
        self.check(value <= maximum, member, || {
            format!("Member must have value less than or equal to {maximum}")
        });
    }

    /// A name of a stream or a shard: 1 to 128 of `[a-zA-Z0-9_.-]`.
    pub(super) fn name(&mut self, member: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        let fits = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        self.check(fits && !value.is_empty(), member, || {
            "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+".to_owned()
        });
        self.at_least(member, value.len(), 1);
        self.at_most(member, value.len(), 128);
    }

    /// A hash in decimal.
    pub(super) fn hash_key(&mut self, member: &str, value: Option<&str>) {
        self.check(value.is_none_or(hash_range::well_formed), member, || {
            r"Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})".to_owned()
        });
    }

    pub(super) fn one_of(&mut self, member: &str, value: Option<&str>, values: &[&str]) {
        self.check(value.is_none_or(|value| values.contains(&value)), member, || {
            format!("Member must satisfy enum value set: [{}]", values.join(", "))
        });
    }

    /// Where to start in a shard: one of five kinds, and a sequence number for two of them.
    pub(super) fn start(
        &mut self,
        kind_member: &str,
        kind: Option<&str>,
        number_member: &str,
        number: Option<&str>,
    ) {
        self.one_of(kind_member, kind, &START_KINDS);
        self.check(number.is_none_or(is_sequence_number), number_member, || {
            r"Member must satisfy regular expression pattern: 0|([1-9]\d{0,128})".to_owned()
        });
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        let Self(failures) = self;
        if failures.is_empty() {
            return Ok(());
        }
        let errors = if failures.len() == 1 { "error" } else { "errors" };
        let text =
            format!("{} validation {errors} detected: {}", failures.len(), failures.join("; "));
        Err(Error::new(Code::Validation, text))
    }
}

const START_KINDS: [&str; 5] =
    ["AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"];

fn is_sequence_number(number: &str) -> bool {
    number == "0"
        || (!number.is_empty()
            && number.len() <= 129
            && !number.starts_with('0')
            && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_all_failures_at_once() {
        let mut checks = Checks::default();
        checks.name("streamName", Some("with space"));
        checks.between("limit", Some(0), 1, 10);
        let error = checks.finish().unwrap_err();
        assert_eq!(error.code(), Code::Validation);
        assert_eq!(
            error.message(),
            "2 validation errors detected: Value at 'streamName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z0-9_.-]+; Value at 'limit' failed to satisfy constraint: Member must \
             have value greater than or equal to 1"
        );
    }

    #[test]
    fn says_nothing_of_what_fits_or_is_absent() {
        let mut checks = Checks::default();
        checks.name("streamName", Some("a.B_c-1"));
        checks.name("shardId", None);
        checks.between("limit", None, 1, 10);
        checks.hash_key("explicitHashKey", Some("0"));
        checks.one_of("type", None, &["A"]);
        assert!(checks.finish().is_ok());
    }
}
