import java.net.URI;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.retrieval.RetrievalConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Java KCL with its own defaults, but for three: polling unless the last argument is {@code fan-out}, no
 * metrics, and a second instead of a minute for which the founder of an application sleeps after its first listing of the
 * shards. By fan-out it registers the consumer of the application's name.
 */
public final class Consumer {
    public static void main(String[] arguments) throws Exception {
        String stream = arguments[0];
        String application = arguments[1];
        URI endpoint = URI.create(arguments[2]);
        long failoverMillis = Long.parseLong(arguments[3]);
        String worker = arguments[4];
        boolean fanOut = arguments[5].equals("fan-out");

        KinesisAsyncClient kinesis = at(endpoint, KinesisAsyncClient.builder()).build();
        DynamoDbAsyncClient dynamo = at(endpoint, DynamoDbAsyncClient.builder()).build();
        CloudWatchAsyncClient cloudWatch = at(endpoint, CloudWatchAsyncClient.builder()).build();
        ConfigsBuilder configs = new ConfigsBuilder(stream, application, kinesis, dynamo, cloudWatch, worker,
            () -> new Printer(stream, worker));
        RetrievalConfig retrieval = configs.retrievalConfig()
            .initialPositionInStreamExtended(
                InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON));
        if (!fanOut) {
            retrieval.retrievalSpecificConfig(new PollingConfig(stream, kinesis));
        }
        Scheduler scheduler = new Scheduler(
            configs.checkpointConfig(),
            configs.coordinatorConfig(),
            configs.leaseManagementConfig()
                .failoverTimeMillis(failoverMillis)
                .shardSyncIntervalMillis(1000),
            configs.lifecycleConfig(),
            configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(),
            retrieval);
        Thread run = new Thread(scheduler, "scheduler");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(scheduler)));
        Printer.event(worker, "started", null);
        run.start();
        run.join();
    }

    /** As its documentation says: processors are asked to checkpoint, then everything ends. */
    private static void stop(Scheduler scheduler) {
        try {
            scheduler.startGracefulShutdown().get(20, TimeUnit.SECONDS);
        } catch (Exception error) {
            System.err.println("not stopped in order: " + error);
        }
    }

    private static <B extends AwsClientBuilder<B, ?>> B at(URI endpoint, B builder) {
        return builder.endpointOverride(endpoint)
            .region(Region.US_EAST_1)
            .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")));
    }
}
