//! The shape of a lease table: as it is asked for, and as it must be.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, Tag,
};

use super::TableSpec;
use crate::item::{KEY, OWNER};

/// Java KCL 3.x looks for its leases here; made at once, because adding it to a full table takes it many minutes.
const OWNER_INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

pub(super) fn create_table(
    client: &Client,
    table: &str,
    spec: &TableSpec,
) -> Result<CreateTableFluentBuilder, BuildError> {
    let index = GlobalSecondaryIndex::builder()
        .index_name(OWNER_INDEX)
        .key_schema(key(OWNER, KeyType::Hash)?)
        .key_schema(key(KEY, KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()?;
    let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
    let tags: Vec<Tag> = spec.tags.iter().map(tag).collect::<Result<_, _>>()?;
    Ok(client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(KEY, KeyType::Hash)?)
        .attribute_definitions(string(KEY)?)
        .attribute_definitions(string(OWNER)?)
        .global_secondary_indexes(index)
        .deletion_protection_enabled(spec.deletion_protection)
        .set_tags((!tags.is_empty()).then_some(tags)))
}

/// Why a table is not a lease table, and what to do; `None` when it may be one.
pub(super) fn foreign_key(table: &TableDescription) -> Option<String> {
    let is_string = |name: &str| {
        let definitions = table.attribute_definitions();
        definitions.iter().any(|attribute| {
            attribute.attribute_name() == name
                && *attribute.attribute_type() == ScalarAttributeType::S
        })
    };
    match table.key_schema() {
        [only] if only.attribute_name() == KEY && is_string(KEY) => None,
        keys => {
            let names: Vec<&str> = keys.iter().map(KeySchemaElement::attribute_name).collect();
            Some(wrong_key(&names.join("+")))
        }
    }
}

pub(super) fn wrong_key(found: &str) -> String {
    format!("its key is {found}, not the string leaseKey alone; choose another table name")
}

fn key(name: &str, role: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder().attribute_name(name).key_type(role).build()
}

fn string(name: &str) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
}
