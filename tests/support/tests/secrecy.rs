//! S18: no log line, at any level, shows a payload, a partition key or a credential, whatever goes wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use kcl_testkit::sim::schedule::Schedule;
use kcl_testkit::sim::{self, CANARIES, Tier};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged.
#[derive(Debug, Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[test]
fn nothing_secret_is_logged_at_any_level() {
    let logged = Logged::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("kcl_core=trace,kcl_lease=trace"))
        .with_ansi(false)
        .with_writer(logged.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        for seed in 0..12 {
            let _ = sim::play(Tier::Port, &Schedule::draw(seed));
        }
        for seed in 0..2 {
            let _ = sim::play(Tier::Wire, &Schedule::draw(seed));
        }
    });
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(text.lines().count() > 1_000, "hardly anything was logged");
    assert!(text.contains("processor failed"), "nothing went wrong");
    for canary in CANARIES {
        let line = text.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary} is logged");
    }
}
