"""Retention and tags."""


def test_retention(kinesis, stream, refused):
    up, down = kinesis.increase_stream_retention_period, kinesis.decrease_stream_retention_period
    up(StreamName=stream.name, RetentionPeriodHours=8760)
    stream.wait()
    assert stream.summary()["RetentionPeriodHours"] == 8760
    down(StreamARN=stream.arn, RetentionPeriodHours=48)
    stream.wait()
    assert stream.summary()["RetentionPeriodHours"] == 48
    invalid = "InvalidArgumentException"
    refused(invalid, up, StreamName=stream.name, RetentionPeriodHours=8761)
    refused(invalid, up, StreamName=stream.name, RetentionPeriodHours=24)
    refused(invalid, down, StreamName=stream.name, RetentionPeriodHours=23)
    refused(invalid, down, StreamName=stream.name, RetentionPeriodHours=72)
    refused("ResourceNotFoundException", up, StreamName="nobody", RetentionPeriodHours=48)
    assert stream.summary()["RetentionPeriodHours"] == 48


def test_tags(kinesis, stream, refused):
    add, name = kinesis.add_tags_to_stream, stream.name
    add(StreamName=name, Tags={"team": "orders", "stage": "test", "empty": ""})
    add(StreamName=name, Tags={"team": "billing"})
    kinesis.remove_tags_from_stream(StreamName=name, TagKeys=["empty", "unknown"])
    tags = kinesis.list_tags_for_stream(StreamName=name)
    assert tags["HasMoreTags"] is False
    assert {tag["Key"]: tag["Value"] for tag in tags["Tags"]} == {"team": "billing", "stage": "test"}
    page = kinesis.list_tags_for_stream(StreamName=name, Limit=1)
    assert page["HasMoreTags"] is True
    rest = kinesis.list_tags_for_stream(StreamName=name, ExclusiveStartTagKey=page["Tags"][0]["Key"])
    assert len(page["Tags"] + rest["Tags"]) == 2
    refused("InvalidArgumentException", add, StreamName=name, Tags={f"t{n}": "" for n in range(49)})
    refused("ResourceNotFoundException", add, StreamName="nobody", Tags={"a": "b"})


def test_tags_at_creation(kinesis, streams):
    stream = streams(1, Tags={"made": "tagged"})
    assert kinesis.list_tags_for_stream(StreamName=stream.name)["Tags"] == [{"Key": "made", "Value": "tagged"}]
