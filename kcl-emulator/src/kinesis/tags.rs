//! Tags of a stream.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::error::Error;
use super::target::Target;
use super::validate::Checks;

const MAX_TAGS: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddTags {
    #[serde(flatten)]
    target: Target,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveTags {
    #[serde(flatten)]
    target: Target,
    tag_keys: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTags {
    #[serde(flatten)]
    target: Target,
    exclusive_start_tag_key: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagList {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

impl Kinesis {
    pub(super) fn add_tags_to_stream(&mut self, request: AddTags) -> Result<(), Error> {
        let AddTags { target, tags } = request;
        let mut checks = Checks::default();
        checks.present("tags", tags.as_ref());
        checks.at_least("tags", tags.as_ref().map_or(1, BTreeMap::len), 1);
        checks.finish()?;
        let tags = tags.unwrap_or_default();
        let stream = self.existing(&target)?;
        check(&tags, &stream.tags)?;
        stream.tags.extend(tags);
        Ok(())
    }

    pub(super) fn remove_tags_from_stream(&mut self, request: RemoveTags) -> Result<(), Error> {
        let RemoveTags { target, tag_keys } = request;
        let mut checks = Checks::default();
        checks.present("tagKeys", tag_keys.as_ref());
        let tag_keys = tag_keys.unwrap_or_default();
        checks.at_least("tagKeys", tag_keys.len(), 1);
        checks.at_most("tagKeys", tag_keys.len(), MAX_TAGS);
        checks.finish()?;
        let stream = self.existing(&target)?;
        stream.tags.retain(|key, _| !tag_keys.contains(key));
        Ok(())
    }

    pub(super) fn list_tags_for_stream(&mut self, request: &ListTags) -> Result<TagList, Error> {
        let ListTags { target, exclusive_start_tag_key, limit } = request;
        let mut checks = Checks::default();
        checks.between("limit", *limit, 1, 50);
        checks.finish()?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_TAGS);
        let stream = self.existing(target)?;
        let mut rest = stream
            .tags
            .iter()
            .filter(|(key, _)| exclusive_start_tag_key.as_ref().is_none_or(|after| *key > after));
        let tags = rest
            .by_ref()
            .take(limit)
            .map(|(key, value)| Tag { key: key.clone(), value: value.clone() })
            .collect();
        Ok(TagList { tags, has_more_tags: rest.next().is_some() })
    }
}

/// Checks tags that are to join those that are `present`.
pub(super) fn check(
    tags: &BTreeMap<String, String>,
    present: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let mut checks = Checks::default();
    for (key, value) in tags {
        checks.at_least("tags.key", key.chars().count(), 1);
        checks.at_most("tags.key", key.chars().count(), 128);
        checks.at_most("tags.value", value.chars().count(), 256);
    }
    checks.finish()?;
    let legal =
        |text: &String| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
    if !tags.iter().all(|(key, value)| legal(key) && legal(value)) {
        return Err(Error::invalid(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . : / = + - @.",
        ));
    }
    let new = tags.keys().filter(|key| !present.contains_key(*key)).count();
    if present.len() + new > MAX_TAGS {
        return Err(Error::invalid(format!(
            "A stream cannot have more than {MAX_TAGS} tags associated with it."
        )));
    }
    Ok(())
}
