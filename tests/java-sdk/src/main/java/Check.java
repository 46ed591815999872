import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.stream.IntStream;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;
import software.amazon.awssdk.services.kinesis.model.Record;

/** A stock client with its own defaults, CBOR among them, against the server at the endpoint given. */
public final class Check {
    private static final String STREAM = "java";
    private static final StaticCredentialsProvider CREDENTIALS =
        StaticCredentialsProvider.create(AwsBasicCredentials.create("java", "secret"));
    private static final List<String> contentTypes = Collections.synchronizedList(new ArrayList<>());

    public static void main(String[] arguments) {
        URI endpoint = URI.create(arguments[0]);
        try (KinesisClient kinesis = KinesisClient.builder()
                .endpointOverride(endpoint)
                .region(Region.US_EAST_1)
                .credentialsProvider(CREDENTIALS)
                .overrideConfiguration(c -> c.addExecutionInterceptor(new Watch()))
                .build()) {
            streams(kinesis);
            records(kinesis);
            errors(kinesis);
            try (KinesisAsyncClient async = KinesisAsyncClient.builder()
                    .endpointOverride(endpoint)
                    .region(Region.US_EAST_1)
                    .credentialsProvider(CREDENTIALS)
                    .overrideConfiguration(c -> c.addExecutionInterceptor(new Watch()))
                    .build()) {
                fanOut(kinesis, async);
            }
            kinesis.deleteStream(b -> b.streamName(STREAM).enforceConsumerDeletion(true));
        }
        check(contentTypes.stream().allMatch("application/x-amz-cbor-1.1"::equals), "spoke " + contentTypes);
        System.out.println("ok: " + contentTypes.size() + " requests and replies, all in CBOR, and a stream of events");
    }

    private static void streams(KinesisClient kinesis) {
        kinesis.createStream(b -> b.streamName(STREAM).shardCount(1));
        StreamDescriptionSummary summary =
            kinesis.describeStreamSummary(b -> b.streamName(STREAM)).streamDescriptionSummary();
        check(summary.streamStatus() == StreamStatus.ACTIVE && summary.openShardCount() == 1, summary);
        near(summary.streamCreationTimestamp());
        check(kinesis.listStreams().streamNames().contains(STREAM), "listed");
        List<Shard> shards = kinesis.listShards(b -> b.streamName(STREAM)
            .shardFilter(f -> f.type(ShardFilterType.AT_TIMESTAMP).timestamp(Instant.now()))).shards();
        check(shards.size() == 1 && shards.get(0).hashKeyRange().startingHashKey().equals("0"), shards);
    }

    private static void records(KinesisClient kinesis) {
        byte[] bytes = {0, 1, (byte) 0xff};
        PutRecordsResponse put = kinesis.putRecords(b -> b.streamName(STREAM)
            .records(IntStream.range(0, 100).mapToObj(n -> PutRecordsRequestEntry.builder()
                .partitionKey("k" + n).data(SdkBytes.fromByteArray(bytes)).build()).toList()));
        check(put.failedRecordCount() == 0 && put.records().size() == 100, put);
        List<Record> records = read(kinesis, GetShardIteratorRequest.builder()
            .shardIteratorType(ShardIteratorType.AT_TIMESTAMP).timestamp(Instant.now().minusSeconds(60)));
        check(records.size() == 100, records.size());
        check(java.util.Arrays.equals(records.get(7).data().asByteArray(), bytes), "data");
        check(records.get(7).partitionKey().equals("k7"), "key");
        check(records.get(7).sequenceNumber().equals(put.records().get(7).sequenceNumber()), "number");
        near(records.get(7).approximateArrivalTimestamp());
        kinesis.splitShard(b -> b.streamName(STREAM).shardToSplit("shardId-000000000000")
            .newStartingHashKey("1000"));
        GetRecordsResponse page = kinesis.getRecords(b -> b.shardIterator(iterator(kinesis,
            GetShardIteratorRequest.builder().shardIteratorType(ShardIteratorType.LATEST))));
        check(page.nextShardIterator() == null && page.childShards().size() == 2, page);
    }

    private static void errors(KinesisClient kinesis) {
        try {
            kinesis.describeStreamSummary(b -> b.streamName("nowhere"));
            check(false, "found");
        } catch (ResourceNotFoundException error) {
            check(error.awsErrorDetails().errorMessage().contains("nowhere"), error);
            check(error.statusCode() == 400 && !error.requestId().isEmpty(), error);
        }
        try {
            kinesis.getRecords(b -> b.shardIterator("garbage"));
            check(false, "read");
        } catch (InvalidArgumentException error) {
            check(error.awsErrorDetails().errorCode().equals("InvalidArgumentException"), error);
        }
    }

    /** By the client that the Java KCL uses: HTTP/2, without TLS by prior knowledge. */
    private static void fanOut(KinesisClient kinesis, KinesisAsyncClient async) {
        String stream = kinesis.describeStreamSummary(b -> b.streamName(STREAM))
            .streamDescriptionSummary().streamARN();
        String consumer = kinesis.registerStreamConsumer(b -> b.streamARN(stream).consumerName("java"))
            .consumer().consumerARN();
        while (kinesis.describeStreamConsumer(b -> b.consumerARN(consumer)).consumerDescription()
                .consumerStatus() != ConsumerStatus.ACTIVE) {
            Thread.onSpinWait();
        }
        List<SubscribeToShardEvent> events = Collections.synchronizedList(new ArrayList<>());
        SubscribeToShardResponseHandler handler = SubscribeToShardResponseHandler.builder()
            .subscriber(event -> events.add((SubscribeToShardEvent) event))
            .build();
        // The shard was split: it ends, and so does the stream of events.
        async.subscribeToShard(b -> b.consumerARN(consumer).shardId("shardId-000000000000")
            .startingPosition(p -> p.type(ShardIteratorType.TRIM_HORIZON)), handler).join();
        check(events.get(0).records().size() == 100, events);
        check(events.get(0).records().get(7).partitionKey().equals("k7"), events);
        near(events.get(0).records().get(7).approximateArrivalTimestamp());
        SubscribeToShardEvent last = events.get(events.size() - 1);
        check(last.continuationSequenceNumber() == null && last.childShards().size() == 2, last);
        try {
            async.subscribeToShard(b -> b.consumerARN(consumer).shardId("shardId-000000000000")
                .startingPosition(p -> p.type(ShardIteratorType.LATEST)), handler).join();
            check(false, "subscribed twice");
        } catch (CompletionException error) {
            check(error.getCause() instanceof ResourceInUseException, error);
        }
    }

    private static List<Record> read(KinesisClient kinesis, GetShardIteratorRequest.Builder start) {
        String iterator = iterator(kinesis, start);
        return kinesis.getRecords(b -> b.shardIterator(iterator)).records();
    }

    private static String iterator(KinesisClient kinesis, GetShardIteratorRequest.Builder start) {
        return kinesis.getShardIterator(
            start.streamName(STREAM).shardId("shardId-000000000000").build()).shardIterator();
    }

    private static void near(Instant time) {
        check(Duration.between(time, Instant.now()).abs().compareTo(Duration.ofMinutes(1)) < 0, time);
    }

    private static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(String.valueOf(what));
        }
    }

    /** What requests and replies were written in, but for SubscribeToShard, which the client asks for in JSON. */
    private static final class Watch implements ExecutionInterceptor {
        @Override
        public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes attributes) {
            if (context.request() instanceof SubscribeToShardRequest) {
                return;
            }
            contentTypes.add(context.httpRequest().firstMatchingHeader("Content-Type").orElse("none"));
            contentTypes.add(context.httpResponse().firstMatchingHeader("Content-Type").orElse("none"));
        }
    }
}
