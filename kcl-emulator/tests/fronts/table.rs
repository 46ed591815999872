//! A lease-like table: hash key `leaseKey`, an index on `leaseOwner`.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, ScalarAttributeType,
};

pub(crate) const TABLE: &str = "orders-app";
pub(crate) const INDEX: &str = "by-owner";

pub(crate) fn s(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn n(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn lease(key: &str, owner: &str, counter: u64) -> HashMap<String, AttributeValue> {
    [("leaseKey", s(key)), ("leaseOwner", s(owner)), ("leaseCounter", n(counter))]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

pub(crate) async fn create(client: &Client) {
    create_request(client).send().await.unwrap();
}

pub(crate) fn create_request(client: &Client) -> CreateTableFluentBuilder {
    let key = |name: &str| {
        KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap()
    };
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .key_schema(key("leaseOwner"))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()
        .unwrap();
    client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("leaseKey"))
        .attribute_definitions(attribute("leaseKey"))
        .attribute_definitions(attribute("leaseOwner"))
        .global_secondary_indexes(index)
}

pub(crate) async fn put(client: &Client, key: &str, owner: &str, counter: u64) {
    let item = lease(key, owner, counter);
    client.put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
}

pub(crate) async fn get(client: &Client, key: &str) -> Option<HashMap<String, AttributeValue>> {
    let get = client.get_item().table_name(TABLE).key("leaseKey", s(key)).consistent_read(true);
    get.send().await.unwrap().item
}
