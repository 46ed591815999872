//! What a lease table needs of DynamoDB. Each function runs over both fronts.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, KeysAndAttributes, PointInTimeRecoverySpecification,
    PointInTimeRecoveryStatus, Put, PutRequest, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TableStatus, Tag, TransactWriteItem, WriteRequest,
};

use crate::table::{INDEX, TABLE, create, create_request, get, lease, n, put, s};

/// Runs everything, each on a table of its own life.
pub(crate) async fn all(client: &Client) {
    tables_are_created_described_listed_and_deleted(client).await;
    create(client).await;
    items_are_put_and_got(client).await;
    a_lost_condition_returns_the_rival(client).await;
    an_update_moves_an_item_in_the_index(client).await;
    a_scan_pages(client).await;
    batches_and_transactions(client).await;
    backups_and_tags(client).await;
    bad_requests_get_awss_errors(client).await;
}

async fn tables_are_created_described_listed_and_deleted(client: &Client) {
    let missing = client.describe_table().table_name(TABLE).send().await.unwrap_err();
    assert!(missing.as_service_error().unwrap().is_resource_not_found_exception());

    create(client).await;
    let again = create_request(client).send().await.unwrap_err();
    assert!(again.as_service_error().unwrap().is_resource_in_use_exception());

    let described = client.describe_table().table_name(TABLE).send().await.unwrap();
    let described = described.table().unwrap();
    assert_eq!(described.table_status(), Some(&TableStatus::Active));
    assert_eq!(described.global_secondary_indexes()[0].index_name(), Some(INDEX));
    assert_eq!(client.list_tables().send().await.unwrap().table_names(), [TABLE]);

    client.delete_table().table_name(TABLE).send().await.unwrap();
    assert!(client.list_tables().send().await.unwrap().table_names().is_empty());
}

async fn items_are_put_and_got(client: &Client) {
    put(client, "shard-0", "a", 1).await;
    assert_eq!(get(client, "shard-0").await, Some(lease("shard-0", "a", 1)));
    assert_eq!(get(client, "shard-9").await, None);
}

async fn a_lost_condition_returns_the_rival(client: &Client) {
    put(client, "shard-1", "a", 5).await;
    let take = |counter: u64| {
        client
            .update_item()
            .table_name(TABLE)
            .key("leaseKey", s("shard-1"))
            .update_expression("SET leaseOwner = :me, leaseCounter = :next")
            .condition_expression("leaseCounter = :seen")
            .expression_attribute_values(":me", s("b"))
            .expression_attribute_values(":seen", n(counter))
            .expression_attribute_values(":next", n(counter + 1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
    };
    let lost = take(4).await.unwrap_err().into_service_error();
    let UpdateItemError::ConditionalCheckFailedException(lost) = lost else { panic!("{lost:?}") };
    assert_eq!(lost.item, Some(lease("shard-1", "a", 5)));
    assert_eq!(take(5).await.unwrap().attributes, Some(lease("shard-1", "b", 6)));

    let create = client
        .put_item()
        .table_name(TABLE)
        .set_item(Some(lease("shard-1", "c", 0)))
        .condition_expression("attribute_not_exists(leaseKey)");
    let lost = create.send().await.unwrap_err();
    assert!(lost.as_service_error().unwrap().is_conditional_check_failed_exception());
    let delete = client
        .delete_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-1"))
        .condition_expression("leaseOwner = :me")
        .expression_attribute_values(":me", s("a"));
    let lost = delete.send().await.unwrap_err();
    assert!(lost.as_service_error().unwrap().is_conditional_check_failed_exception());
    assert_eq!(get(client, "shard-1").await, Some(lease("shard-1", "b", 6)));
}

async fn owned_by(client: &Client, owner: &str) -> Vec<AttributeValue> {
    let query = client
        .query()
        .table_name(TABLE)
        .index_name(INDEX)
        .key_condition_expression("leaseOwner = :owner")
        .expression_attribute_values(":owner", s(owner));
    let items = query.send().await.unwrap().items.unwrap_or_default();
    items.into_iter().filter_map(|mut item| item.remove("leaseKey")).collect()
}

async fn an_update_moves_an_item_in_the_index(client: &Client) {
    put(client, "shard-2", "x", 1).await;
    assert_eq!(owned_by(client, "x").await, [s("shard-2")]);
    let release = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-2"))
        .update_expression("REMOVE leaseOwner");
    release.send().await.unwrap();
    assert!(owned_by(client, "x").await.is_empty());
}

async fn a_scan_pages(client: &Client) {
    for shard in 0..25 {
        put(client, &format!("page-{shard:02}"), "p", shard).await;
    }
    let mut pages = client.scan().table_name(TABLE).limit(10).into_paginator().send();
    let (mut seen, mut count) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.count() <= 10);
        count += 1;
        seen.extend(page.items.unwrap_or_default().into_iter().map(|mut i| i.remove("leaseKey")));
    }
    assert!(count >= 3);
    for shard in 0..25 {
        assert!(seen.contains(&Some(s(&format!("page-{shard:02}")))));
    }
}

async fn batches_and_transactions(client: &Client) {
    let request = |key: &str| {
        let put = PutRequest::builder().set_item(Some(lease(key, "batch", 1))).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    };
    let writes = ["batch-0", "batch-1"].map(request).to_vec();
    client.batch_write_item().request_items(TABLE, writes).send().await.unwrap();
    let keys = ["batch-0", "batch-1"].map(|key| [("leaseKey".to_owned(), s(key))].into()).to_vec();
    let keys = KeysAndAttributes::builder().set_keys(Some(keys)).build().unwrap();
    let got = client.batch_get_item().request_items(TABLE, keys).send().await.unwrap();
    assert_eq!(got.responses.unwrap()[TABLE].len(), 2);

    let put = |key: &str| {
        let put = Put::builder().table_name(TABLE).set_item(Some(lease(key, "t", 1)));
        TransactWriteItem::builder().put(put.build().unwrap()).build()
    };
    let check = ConditionCheck::builder()
        .table_name(TABLE)
        .key("leaseKey", s("batch-0"))
        .condition_expression("attribute_not_exists(leaseKey)")
        .build()
        .unwrap();
    let check = TransactWriteItem::builder().condition_check(check).build();
    let failed = client.transact_write_items().transact_items(put("child-0")).transact_items(check);
    let failed = failed.send().await.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(failed) = failed else {
        panic!("{failed:?}")
    };
    let codes: Vec<_> = failed.cancellation_reasons().iter().map(|r| r.code()).collect();
    assert_eq!(codes, [Some("None"), Some("ConditionalCheckFailed")]);
    assert_eq!(get(client, "child-0").await, None);

    let parent = Delete::builder().table_name(TABLE).key("leaseKey", s("batch-0")).build().unwrap();
    let parent = TransactWriteItem::builder().delete(parent).build();
    let split = client.transact_write_items().transact_items(put("child-0")).transact_items(parent);
    split.send().await.unwrap();
    assert_eq!(get(client, "child-0").await, Some(lease("child-0", "t", 1)));
    assert_eq!(get(client, "batch-0").await, None);
}

async fn backups_and_tags(client: &Client) {
    let status = async || {
        let backups = client.describe_continuous_backups().table_name(TABLE).send().await.unwrap();
        let backups = backups.continuous_backups_description.unwrap();
        backups.point_in_time_recovery_description.unwrap().point_in_time_recovery_status
    };
    assert_eq!(status().await, Some(PointInTimeRecoveryStatus::Disabled));
    let on = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true);
    client
        .update_continuous_backups()
        .table_name(TABLE)
        .point_in_time_recovery_specification(on.build().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(status().await, Some(PointInTimeRecoveryStatus::Enabled));
    let missing = client.describe_continuous_backups().table_name("no-such-table");
    let missing = missing.send().await.unwrap_err().into_service_error();
    assert!(missing.is_table_not_found_exception());

    let table = client.describe_table().table_name(TABLE).send().await.unwrap().table.unwrap();
    let arn = table.table_arn.unwrap();
    let tag = Tag::builder().key("team").value("orders").build().unwrap();
    client.tag_resource().resource_arn(&arn).tags(tag.clone()).send().await.unwrap();
    let tags = client.list_tags_of_resource().resource_arn(&arn).send().await.unwrap();
    assert_eq!(tags.tags(), [tag]);
}

async fn bad_requests_get_awss_errors(client: &Client) {
    let unknown = client.list_backups().send().await.unwrap_err();
    assert_eq!(unknown.code(), Some("UnknownOperationException"));
    let get = client.get_item().table_name(TABLE).key("wrongKey", s("shard-0"));
    assert_eq!(get.send().await.unwrap_err().code(), Some("ValidationException"));
    let get = client.get_item().table_name("no-such-table").key("leaseKey", s("shard-0"));
    assert_eq!(get.send().await.unwrap_err().code(), Some("ResourceNotFoundException"));
}
