//! S18: no log line of ours, at any level, shows a payload or a partition key, whatever goes wrong.
//!
//! A program of its own: where other tests run beside it, `tracing` may take a line that they log first for one that nobody wants.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use kcl_core::StartingPosition;
use kcl_emulator::Fault;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use bench::{Bench, custom, exception, fault, next};

#[path = "fanout/bench.rs"]
#[expect(dead_code, unused_imports, reason = "helpers of the other suite too")]
mod bench;

const SECRET: &str = "canary-7c1e";
/// The same in base64, at each of the three offsets.
const ENCODED: [&str; 3] = ["Y2FuYXJ5LTdjMW", "NhbmFyeS03YzFl", "jYW5hcnktN2MxZ"];

/// Everything that was logged.
#[derive(Debug, Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
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

#[tokio::test(start_paused = true)]
async fn s18_nothing_secret_is_logged_by_fan_out() {
    let logged = Logged::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("kcl_core=trace,kcl_fanout=trace"))
        .with_ansi(false)
        .with_writer(logged.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let faults: Vec<Fault> = (0..40)
        .map(|n| Fault::CutBody { at: 100 + 13 * n })
        .chain([
            exception(1, "InternalFailureException"),
            exception(1, "KMSDisabledException"),
            custom("ResourceNotFoundException"),
            custom("ResourceInUseException"),
            custom("NobodyKnowsException"),
        ])
        .collect();
    for failing in faults {
        let bench = Bench::new(1).await;
        bench.put_data(SECRET.to_owned(), SECRET.repeat(20).into_bytes()).await;
        bench.fault(fault(failing).first(6));
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        let fetched = next(&mut reader).await;
        let shown = format!("{fetched:?} {:?}", bench.source);
        assert!(!shown.contains(SECRET), "{shown}");
    }
    let text = logged.text();
    assert!(text.contains("subscriptions fail"), "nothing went wrong: {text}");
    assert!(text.contains("consumer is active"));
    for canary in ENCODED.into_iter().chain([SECRET]) {
        let line = text.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary} is logged");
    }
}
