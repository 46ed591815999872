import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/** Writes the lines that {@code consume --json} writes, and a line for each event; checkpoints after every batch. */
final class Printer implements ShardRecordProcessor {
    private static final PrintStream OUT = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false,
        StandardCharsets.UTF_8);

    private final String stream;
    private final String worker;
    private String shard;

    Printer(String stream, String worker) {
        this.stream = stream;
        this.worker = worker;
    }

    @Override
    public void initialize(InitializationInput input) {
        shard = input.shardId();
        event(worker, "initialised", shard);
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
        if (input.records().isEmpty()) {
            return;
        }
        StringBuilder lines = new StringBuilder();
        for (KinesisClientRecord record : input.records()) {
            byte[] data = new byte[record.data().remaining()];
            record.data().get(data);
            lines.append(String.format("{\"stream\":\"%s\",\"shard\":\"%s\",\"sequence_number\":\"%s\","
                + "\"sub_sequence_number\":%d,\"partition_key\":\"%s\",\"data_base64\":\"%s\",\"arrival_ms\":%d,"
                + "\"delivered_ms\":%d,\"worker\":\"%s\"}%n",
                stream, shard, record.sequenceNumber(), record.subSequenceNumber(), record.partitionKey(),
                Base64.getEncoder().encodeToString(data), record.approximateArrivalTimestamp().toEpochMilli(),
                System.currentTimeMillis(), worker));
        }
        write(lines.toString());
        checkpoint(input.checkpointer());
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
        event(worker, "lease lost", shard);
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
        event(worker, "shard ended", shard);
        checkpoint(input.checkpointer());
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
        event(worker, "shutdown requested", shard);
        checkpoint(input.checkpointer());
    }

    static void event(String worker, String event, String shard) {
        write(String.format("{\"event\":\"%s\",\"shard\":\"%s\",\"worker\":\"%s\",\"at_ms\":%d}%n",
            event, shard, worker, System.currentTimeMillis()));
    }

    /** A failed checkpoint is told by a line, not thrown: the records were written, and another worker may write them again. */
    private void checkpoint(RecordProcessorCheckpointer checkpointer) {
        try {
            checkpointer.checkpoint();
        } catch (Exception error) {
            event(worker, "not checkpointed, " + error.getClass().getSimpleName(), shard);
        }
    }

    private static void write(String lines) {
        synchronized (OUT) {
            OUT.print(lines);
            OUT.flush();
        }
    }
}
