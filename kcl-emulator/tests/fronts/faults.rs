//! What a caller sees of each fault, and what of its request took effect.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use kcl_emulator::{Delivery, Emulator, Fault, Rule, Service};

use crate::over_a_socket;
use crate::table::{TABLE, create, get, lease, n, put, s};

const KEY: &str = "shardId-000000000000";

async fn emulator_with_a_lease() -> (Emulator, Client) {
    let emulator = Emulator::builder().seed(7).build();
    let client = Client::new(&emulator.sdk_config());
    create(&client).await;
    put(&client, KEY, "a", 1).await;
    (emulator, client)
}

/// A client that shows each failure at once.
fn without_retries(emulator: &Emulator) -> Client {
    let config = emulator.sdk_config().into_builder().retry_config(RetryConfig::disabled());
    Client::new(&config.build())
}

async fn renew(client: &Client, seen: u64) -> Result<UpdateItemOutput, SdkError<UpdateItemError>> {
    let renewal = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s(KEY))
        .update_expression("SET leaseCounter = :next")
        .condition_expression("leaseCounter = :seen")
        .expression_attribute_values(":seen", n(seen))
        .expression_attribute_values(":next", n(seen + 1));
    renewal.send().await
}

async fn counter_is(client: &Client, counter: u64) -> bool {
    get(client, KEY).await == Some(lease(KEY, "a", counter))
}

fn renewals(fault: Fault) -> Rule {
    Rule::new(fault).service(Service::DynamoDb).operation("UpdateItem").body_contains(KEY)
}

#[tokio::test(start_paused = true)]
async fn the_sdk_waits_and_retries_a_throttle_in_virtual_time() {
    let (emulator, client) = emulator_with_a_lease().await;
    emulator.faults().add(renewals(Fault::Throttle).first(2));
    let started = emulator.clock().now();
    renew(&client, 1).await.unwrap();
    assert_eq!(emulator.counts()["dynamodb:UpdateItem"], 3);
    assert_eq!(emulator.faults().counts()["throttle"], 2);
    assert!(emulator.clock().now() > started);
}

#[tokio::test(start_paused = true)]
async fn each_fault_has_its_effect_and_its_face() {
    let custom = Fault::Custom {
        status: 400,
        error: "ExpiredTokenException".to_owned(),
        message: "the security token is expired".to_owned(),
    };
    let none = |e: &SdkError<UpdateItemError>| e.as_service_error().is_none();
    let code = |e: &SdkError<UpdateItemError>| e.code().map(str::to_owned);
    let (emulator, setup) = emulator_with_a_lease().await;
    let client = without_retries(&emulator);

    emulator.faults().add(renewals(Fault::Throttle).nth(1));
    let error = renew(&client, 1).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("ProvisionedThroughputExceededException"));
    assert!(counter_is(&setup, 1).await);

    emulator.faults().add(renewals(Fault::ErrorBefore(503)).nth(1));
    let error = renew(&client, 1).await.unwrap_err();
    assert_eq!(error.raw_response().map(|r| r.status().as_u16()), Some(503));
    assert!(counter_is(&setup, 1).await);

    emulator.faults().add(renewals(Fault::LostBefore).nth(1));
    let error = renew(&client, 1).await.unwrap_err();
    assert!(matches!(&error, SdkError::DispatchFailure(failure) if failure.is_io()));
    assert!(counter_is(&setup, 1).await);

    emulator.faults().add(renewals(custom).nth(1));
    let error = renew(&client, 1).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("ExpiredTokenException"));
    assert!(counter_is(&setup, 1).await);

    emulator.faults().add(renewals(Fault::ErrorAfter).nth(1));
    let error = renew(&client, 1).await.unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("InternalServerError"));
    assert!(counter_is(&setup, 2).await);

    emulator.faults().add(renewals(Fault::LostAfter).nth(1));
    let error = renew(&client, 2).await.unwrap_err();
    assert!(
        matches!(&error, SdkError::DispatchFailure(failure) if failure.is_io()) && none(&error)
    );
    assert!(counter_is(&setup, 3).await);

    emulator.faults().add(renewals(Fault::CutBody { at: 1 }).nth(1));
    let error = renew(&client, 3).await.unwrap_err();
    assert!(matches!(&error, SdkError::ResponseError(_)), "{error:?}");
    assert!(counter_is(&setup, 4).await);

    let kinds = ["cut_body", "custom", "error_after", "error_before", "lost_after", "lost_before"];
    let counts = emulator.faults().counts();
    assert!(kinds.iter().all(|kind| counts[kind] == 1), "{counts:?}");
}

/// The trap that fencing must survive: the SDK retries a renewal that had taken effect, and the retry loses.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_makes_the_sdks_retry_lose_the_condition() {
    let (emulator, client) = emulator_with_a_lease().await;
    emulator.faults().add(renewals(Fault::LostAfter).nth(1));
    let error = renew(&client, 1).await.unwrap_err().into_service_error();
    assert!(error.is_conditional_check_failed_exception(), "{error:?}");
    assert!(counter_is(&client, 2).await);
}

#[tokio::test(start_paused = true)]
async fn latency_delays_the_effect_and_a_late_reply_does_not() {
    let (emulator, client) = emulator_with_a_lease().await;
    for (fault, counter_meanwhile) in
        [(Fault::Latency(Duration::from_secs(3)), 1), (Fault::LateReply(Duration::from_secs(3)), 3)]
    {
        emulator.faults().clear();
        emulator.faults().add(renewals(fault));
        let started = emulator.clock().now();
        let seen = if counter_meanwhile == 1 { 1 } else { 2 };
        let meanwhile = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            counter_is(&client, counter_meanwhile).await
        };
        let (renewed, as_expected) = tokio::join!(renew(&client, seen), meanwhile);
        renewed.unwrap();
        assert!(as_expected);
        assert_eq!(emulator.clock().now(), started + Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn one_worker_is_cut_off_for_a_while() {
    let (emulator, _) = emulator_with_a_lease().await;
    let workers = ["worker-1", "worker-2"].map(|name| {
        let config = emulator.sdk_config_for(name).into_builder();
        Client::new(&config.retry_config(RetryConfig::disabled()).build())
    });
    let now = emulator.clock().now();
    let window = now..now + Duration::from_secs(10);
    emulator.faults().add(Rule::new(Fault::LostBefore).caller("worker-1").during(window));
    renew(&workers[0], 1).await.unwrap_err();
    renew(&workers[1], 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    renew(&workers[0], 2).await.unwrap();
}

#[tokio::test]
async fn faults_look_the_same_over_a_socket() {
    let (emulator, setup) = emulator_with_a_lease().await;
    let (_server, config) = over_a_socket(&emulator).await;
    let config = config.into_builder().retry_config(RetryConfig::disabled());
    let client = Client::new(&config.build());

    emulator.faults().add(renewals(Fault::LostBefore).nth(1));
    assert!(matches!(renew(&client, 1).await, Err(SdkError::DispatchFailure(_))));
    assert!(counter_is(&setup, 1).await);

    emulator.faults().add(renewals(Fault::LostAfter).nth(1));
    assert!(matches!(renew(&client, 1).await, Err(SdkError::DispatchFailure(_))));
    assert!(counter_is(&setup, 2).await);

    emulator.faults().add(renewals(Fault::CutBody { at: 1 }).nth(1));
    assert!(matches!(renew(&client, 2).await, Err(SdkError::ResponseError(_))));
    assert!(counter_is(&setup, 3).await);

    emulator.faults().add(Rule::new(Fault::Throttle).caller("emulator").nth(1));
    let error = renew(&client, 3).await.unwrap_err();
    assert_eq!(error.code(), Some("ProvisionedThroughputExceededException"));
    renew(&client, 3).await.unwrap();
}

#[test]
fn a_client_of_ones_own_gets_replies_past_counts_and_faults() {
    let emulator = Emulator::builder().build();
    emulator.faults().add(Rule::new(Fault::Throttle));
    let reply = emulator.reply("DynamoDB_20120810.ListTables", b"{}");
    assert_eq!((reply.status, emulator.counts().len()), (200, 0));
    assert_eq!(emulator.reply("Elsewhere.ListTables", b"{}").status, 400);

    let connector = emulator.connector();
    let deliver = |delivery| connector.hand_over(delivery);
    let whole = deliver(Delivery::Whole(reply.clone())).unwrap();
    assert_eq!(whole.body().bytes(), Some(&reply.body[..]));
    assert_eq!(deliver(Delivery::Cut(reply)).unwrap().body().bytes(), None); // a stream that breaks
    assert!(deliver(Delivery::Lost).unwrap_err().is_io());
    let error = Service::DynamoDb.error(400, "ThrottlingException", None);
    let error = deliver(Delivery::Whole(error)).unwrap();
    assert_eq!(error.headers().get("x-amzn-errortype"), Some("ThrottlingException"));
}
