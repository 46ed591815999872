//! An error as text.

use std::error::Error;

/// An error and its causes on one line. A cause that says the same as what it caused is left out: AWS's errors carry
/// their message twice.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
