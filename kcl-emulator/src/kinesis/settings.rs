//! Settings of a stream: retention and the largest record.

use serde::Deserialize;

use super::Kinesis;
use super::error::Error;
use super::target::Target;
use super::time::Time;
use super::validate::Checks;

const MIN_HOURS: u32 = 24;
const MAX_HOURS: u32 = 8760;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Retention {
    #[serde(flatten)]
    target: Target,
    retention_period_hours: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MaxRecordSize {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size: Option<i64>,
}

impl Kinesis {
    pub(super) fn increase_retention(
        &mut self,
        now: Time,
        request: Retention,
    ) -> Result<(), Error> {
        self.set_retention(now, request, "longer", |wanted, present| wanted >= present)
    }

    pub(super) fn decrease_retention(
        &mut self,
        now: Time,
        request: Retention,
    ) -> Result<(), Error> {
        self.set_retention(now, request, "shorter", |wanted, present| wanted <= present)
    }

    fn set_retention(
        &mut self,
        now: Time,
        request: Retention,
        direction: &str,
        fits: impl FnOnce(u32, u32) -> bool,
    ) -> Result<(), Error> {
        let Retention { target, retention_period_hours } = request;
        let mut checks = Checks::default();
        checks.present("retentionPeriodHours", retention_period_hours.as_ref());
        checks.finish()?;
        let wanted = retention_period_hours.unwrap_or_default();
        let stream = self.active(&target)?;
        let Some(hours) =
            u32::try_from(wanted).ok().filter(|hours| (MIN_HOURS..=MAX_HOURS).contains(hours))
        else {
            return Err(Error::invalid(format!(
                "Minimum allowed retention period is {MIN_HOURS} hours and maximum is {MAX_HOURS} hours. Requested \
                 retention period ({wanted} hours) is outside."
            )));
        };
        if !fits(hours, stream.retention_hours) {
            return Err(Error::invalid(format!(
                "Requested retention period ({hours} hours) for stream {} must be {direction} than existing retention \
                 period ({} hours).",
                stream.name, stream.retention_hours
            )));
        }
        // What has expired does not come back.
        stream.prune(now);
        stream.retention_hours = hours;
        Ok(())
    }

    pub(super) fn update_max_record_size(&mut self, request: MaxRecordSize) -> Result<(), Error> {
        let MaxRecordSize { stream_arn, max_record_size } = request;
        let mut checks = Checks::default();
        checks.present("maxRecordSizeInKiB", max_record_size.as_ref());
        checks.between("maxRecordSizeInKiB", max_record_size, 1024, 10_240);
        checks.finish()?;
        let stream = self.active(&Target { stream_name: None, stream_arn })?;
        stream.max_record =
            max_record_size.and_then(|kib| usize::try_from(kib).ok()).unwrap_or_default() << 10;
        Ok(())
    }
}
