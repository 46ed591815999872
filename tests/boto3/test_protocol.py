"""Bodies and operations that no SDK would send."""

import pytest


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"StreamName":'])
def test_a_body_that_is_no_request(raw, body):
    status, reply, _ = raw("DescribeStream", body)
    assert status == 400 and reply["__type"] == "SerializationException"


@pytest.mark.parametrize(
    "operation, body",
    [
        ("DescribeStream", b'{"StreamName":7}'),
        ("CreateStream", b'{"StreamName":"x","ShardCount":"1"}'),
        ("PutRecord", b'{"StreamName":"x","PartitionKey":"k","Data":"no base64!"}'),
        ("PutRecords", b'{"StreamName":"x","Records":{}}'),
        ("GetRecords", b'{"ShardIterator":["x"]}'),
    ],
)
def test_a_member_of_the_wrong_type(raw, operation, body):
    status, reply, _ = raw(operation, body)
    assert status == 400 and reply["__type"] == "SerializationException"


def test_an_operation_that_does_not_exist(raw):
    status, reply, _ = raw("MakeCoffee", b"{}")
    assert status == 400 and reply["__type"] == "UnknownOperationException"


def test_unknown_members_and_nulls_are_ignored(raw):
    status, reply, _ = raw("ListStreams", b'{"Limit":null,"Colour":"red"}')
    assert status == 200 and b"StreamNames" in reply


def test_an_empty_answer_is_an_empty_body(raw, stream):
    body = f'{{"StreamName":"{stream.name}","Tags":{{"a":"b"}}}}'.encode()
    status, reply, _ = raw("AddTagsToStream", body)
    assert status == 200 and reply == b""


def test_replies_carry_a_request_id_and_their_type(raw):
    _, _, headers = raw("ListStreams", b"{}")
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-RequestId"]
