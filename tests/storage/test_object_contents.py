"""Contents of objects in S3, and how many requests they cost."""

import pyarrow as pa

from m3ray.storage import object_contents
from m3ray.storage.contents import find_contents, is_same_content
from m3ray.storage.object_contents import find_object_contents

# md5sum of "one": what S3 gives as the etag of an object that was put whole.
ONE_ETAG = "f97c5d29941bfb1b2fdab0874906ab82"


def texts(*values):
    return pa.chunked_array([pa.array(values, pa.string())])


def of(*uris):
    contents = find_object_contents(uris)
    return [contents.get(uri) for uri in uris]


def put(client, bucket, *keys, body=b"one"):
    client.create_bucket(Bucket=bucket)
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=body)


def requests(caplog):
    """Method and what is asked for, of each request that the server saw."""
    lines = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
    caplog.clear()
    return [line.partition('"')[2].replace("\x1b[33m", "").split(" HTTP")[0] for line in lines]


def test_objects_side_by_side_cost_a_request_a_thousand(s3, caplog):
    """The issue allows 0.1 requests a clip beside the reads; S3 lists 1,000 keys at once."""
    keys = [f"v/{k // 40:03d}/{k:05d}.mp4" for k in range(2100)]
    put(s3, "dense", *keys)
    requests(caplog)
    caplog.set_level("INFO", "werkzeug")
    found = of(*(f"s3://dense/{key}" for key in keys))
    seen = requests(caplog)
    assert None not in found
    assert len(seen) == 3
    assert not [request for request in seen if request.startswith("HEAD")]


def test_few_among_many_cost_no_more_than_a_request_each(s3, caplog, monkeypatch):
    monkeypatch.setattr(object_contents, "_PAGE", 5)
    put(s3, "sparse", *(f"v/{k:04d}.mp4" for k in range(300)))
    wanted = [f"s3://sparse/v/{k:04d}.mp4" for k in range(0, 300, 10)]
    caplog.set_level("INFO", "werkzeug")
    requests(caplog)
    found = of(*wanted)
    assert None not in found
    asked = requests(caplog)
    assert len(asked) <= len(wanted)
    assert sum(request.startswith("HEAD") for request in asked) > 10, "once listings were seen not to pay"


def test_a_key_that_cannot_be_listed_takes_no_other_with_it(s3):
    put(s3, "deleted", "v/a.mp4", "v/b//b.mp4", "v/sub/c.mp4")
    found = of("s3://deleted/v/a.mp4", "s3://deleted/v/sub/c.mp4", "s3://deleted/v/none.mp4")
    assert [text and text.split(":")[::2] for text in found] == [["3"], ["3"], None], "size and time, no etag"
    s3.delete_object(Bucket="deleted", Key="v/b//b.mp4")
    uris = texts("s3://deleted/v/a.mp4", "s3://deleted/v/sub/c.mp4")
    then, now = texts(*(f"{text} s3://deleted/x" for text in found[:2])), find_contents(uris, "/r")
    assert is_same_content(texts(*(f"{text} s3://deleted/x" for text in now.to_pylist())), then).all(), (
        "nothing is computed again"
    )


def test_an_object_is_its_size_and_etag(s3):
    odd = ("v/a.mp4", "v/b %20?#+é.mp4", "v/sub/c.mp4", "w.mp4")
    put(s3, "stamped", *odd)
    found = of(*(f"s3://stamped/{key}" for key in (*odd, "v/none.mp4", "v/sub", "", "v//a.mp4", "v/../w.mp4")))
    seconds = int(s3.head_object(Bucket="stamped", Key="w.mp4")["LastModified"].timestamp())
    for text in found[:4]:
        size, time, told = text.split(":")
        assert (size, told) == ("3", f"etag-{ONE_ETAG}")
        assert abs(int(time) - seconds) < 60
    assert found[4:] == [None] * 5


def test_a_bucket_that_is_not_there_has_no_contents(s3):
    assert of("s3://nowhere-at-all/a.mp4") == [None]
