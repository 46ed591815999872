"""The rates that AWS allows one shard."""

import time

from conftest import MAX_HASH

THROTTLED = "ProvisionedThroughputExceededException"


def refusals(call, count, **request):
    """How many of some quick calls were throttled."""
    throttled = 0
    for _ in range(count):
        try:
            call(**request)
        except call.__self__.exceptions.ProvisionedThroughputExceededException:
            throttled += 1
    return throttled


def test_five_reads_a_second(impatient, streams):
    stream = streams(2)
    first, second = stream.iterator(0), stream.iterator(1)
    start = time.monotonic()
    throttled = refusals(impatient.get_records, 12, ShardIterator=first)
    elapsed = time.monotonic() - start
    assert 12 - throttled <= 5 + 5 * elapsed + 1 and throttled > 0
    assert refusals(impatient.get_records, 1, ShardIterator=second) == 0
    time.sleep(0.25)
    assert refusals(impatient.get_records, 1, ShardIterator=first) == 0


def test_five_iterators_a_second(impatient, stream):
    request = {
        "StreamName": stream.name,
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "LATEST",
    }
    assert refusals(impatient.get_shard_iterator, 15, **request) > 0
    time.sleep(0.25)
    assert refusals(impatient.get_shard_iterator, 1, **request) == 0


def test_a_page_is_at_most_ten_mib_and_followed_by_silence(impatient, stream):
    for _ in range(11):
        stream.put(b"x" * (2**20 - 100))
    page = impatient.get_records(ShardIterator=stream.iterator())
    assert len(page["Records"]) == 10
    following = page["NextShardIterator"]
    start = time.monotonic()
    while refusals(impatient.get_records, 1, ShardIterator=following):
        time.sleep(0.1)
    assert 2 < time.monotonic() - start < 6


def test_a_thousand_records_a_second(impatient, streams):
    stream = streams(2)
    records = [{"Data": b"", "PartitionKey": "k", "ExplicitHashKey": "0"}] * 500
    replies = [impatient.put_records(StreamName=stream.name, Records=records) for _ in range(4)]
    failed = [entry for reply in replies for entry in reply["Records"] if "ErrorCode" in entry]
    assert failed and sum(reply["FailedRecordCount"] for reply in replies) == len(failed)
    for entry in failed:
        assert entry["ErrorCode"] == THROTTLED
        assert stream.name in entry["ErrorMessage"] and "SequenceNumber" not in entry
    other = [{"Data": b"", "PartitionKey": "k", "ExplicitHashKey": str(MAX_HASH)}]
    assert impatient.put_records(StreamName=stream.name, Records=other)["FailedRecordCount"] == 0


def test_a_mebibyte_written_a_second(impatient, stream):
    put = {"StreamName": stream.name, "Data": b"x" * (2**20 - 1), "PartitionKey": "k"}
    assert refusals(impatient.put_record, 4, **put) > 0
