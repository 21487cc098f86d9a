"""The policies of docs/aws.md: what m3ray asks for is allowed, what would harm is not.

Evaluated as IAM does: a request is allowed by a statement whose action, resource and conditions all fit, if none denies
it.
"""

import inspect
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pytest
from faulty_s3 import scripted_s3, upload

from m3ray.datasets.registry import list_clips
from m3ray.storage.compaction import compact
from m3ray.storage.lock import hold_lock
from m3ray.storage.object_contents import find_object_contents
from m3ray.storage.root import Root
from m3ray.video.reader import read_video

DOC = (Path(__file__).parents[2] / "docs" / "aws.md").read_text()
NAMES = {"ROOT_BUCKET": "studies", "ROOT_PREFIX": "team/root", "VIDEO_BUCKET": "films", "VIDEO_PREFIX": "clips"}
NAMES |= {"ROOT_KMS": "root-key", "VIDEO_KMS": "video-key", "REGION": "us-east-1", "ACCOUNT": "123456789012"}
INSTANCE = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
OURS = {"aws:ResourceTag/ray-cluster-name": ["m3ray"]}


def policies():
    text = DOC
    for name, value in NAMES.items():
        text = text.replace(name, value)
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


DATA, SCALE = policies()
WORKER, HEAD = DATA["Statement"], DATA["Statement"] + SCALE["Statement"]


def fits(pattern, value):
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), value) is not None


def as_list(value):
    return value if isinstance(value, list) else [value]


def meets(conditions, context):
    """IAM's rules: a key that the request lacks fails a condition, except one for all of its values."""
    tests = {"StringEquals": str.__eq__, "StringLike": fits}
    for operator, wanted in conditions.items():
        quantifier, _, kind = operator.rpartition(":")
        for key, patterns in wanted.items():
            matches = [any(tests[kind](p, value) for p in as_list(patterns)) for value in context.get(key, [])]
            if not (all(matches) if quantifier == "ForAllValues" else any(matches)):
                return False
    return True


def is_allowed(role, action, resource, **context):
    effects = {
        s["Effect"]
        for s in role
        if any(fits(p, action) for p in as_list(s["Action"]))
        and any(fits(p, resource) for p in as_list(s["Resource"]))
        and meets(s.get("Condition", {}), context.get("context", context))
    }
    return effects == {"Allow"}


def on_s3(role, action, key, bucket="studies"):
    return is_allowed(role, f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}")


@pytest.mark.parametrize("role", [WORKER, HEAD])
@pytest.mark.parametrize("action", ["PutObject", "DeleteObject", "DeleteObjectVersion", "PutObjectTagging"])
def test_nobody_changes_a_video(role, action):
    assert not on_s3(role, action, "clips/a.mp4", "films")
    broad = [*role, {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    assert not on_s3(broad, action, "clips/a.mp4", "films"), "not even where another policy allows it"


def test_the_root_is_written_and_deleted_below_its_prefix_alone():
    for action in ("GetObject", "PutObject", "DeleteObject"):
        assert on_s3(WORKER, action, "team/root/features/raw-1/part-0.parquet")
        for other in ("team/other/x", "team/rootless/x", "x"):
            assert not on_s3(WORKER, action, other)
    assert not on_s3(WORKER, "DeleteObjectVersion", "team/root/x"), "what is versioned stays"


def test_videos_are_read_below_their_prefix_alone():
    assert on_s3(WORKER, "GetObject", "clips/a.mp4", "films")
    assert not on_s3(WORKER, "GetObject", "private/a.mp4", "films")


def test_nothing_else_of_a_bucket_is_listed_or_set():
    for bucket, inside in (("studies", "team/root/features/"), ("films", "clips/")):
        arn = f"arn:aws:s3:::{bucket}"
        assert is_allowed(WORKER, "s3:ListBucket", arn, context={"s3:prefix": [inside]})
        assert not is_allowed(WORKER, "s3:ListBucket", arn, context={"s3:prefix": ["private/"]})
        assert not is_allowed(WORKER, "s3:ListBucket", arn), "the whole bucket"
        for action in ("DeleteBucket", "PutBucketPolicy", "PutLifecycleConfiguration", "ListBucketVersions"):
            assert not is_allowed(HEAD, f"s3:{action}", arn)


def test_keys_serve_s3_alone():
    key = "arn:aws:kms:us-east-1:123456789012:key/"
    via = {"kms:ViaService": ["s3.us-east-1.amazonaws.com"]}
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert is_allowed(WORKER, action, f"{key}root-key", context=via)
        assert not is_allowed(WORKER, action, f"{key}root-key")
        assert not is_allowed(WORKER, action, f"{key}another", context=via)
    assert is_allowed(WORKER, "kms:Decrypt", f"{key}video-key", context=via)
    assert not is_allowed(WORKER, "kms:GenerateDataKey", f"{key}video-key", context=via)


def test_workers_have_no_right_but_on_data():
    for action in ("ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances", "iam:PassRole", "ssm:GetParameters"):
        assert not is_allowed(WORKER, action, INSTANCE, context=OURS)


def test_the_head_starts_and_stops_instances_of_this_cluster_alone():
    tagged = {"aws:RequestTag/ray-cluster-name": ["m3ray"]}
    assert is_allowed(HEAD, "ec2:RunInstances", INSTANCE, context=tagged)
    assert not is_allowed(HEAD, "ec2:RunInstances", INSTANCE)
    assert is_allowed(HEAD, "ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami-1")
    assert is_allowed(HEAD, "ec2:TerminateInstances", INSTANCE, context=OURS)
    foreign = {"aws:ResourceTag/ray-cluster-name": ["payroll"]}
    assert not is_allowed(HEAD, "ec2:TerminateInstances", INSTANCE, context=foreign)
    assert not is_allowed(HEAD, "ec2:TerminateInstances", INSTANCE)


def tags(*keys, **context):
    return is_allowed(HEAD, "ec2:CreateTags", INSTANCE, context={"aws:TagKeys": list(keys), **context})


def test_no_tag_is_set_but_those_of_the_cluster():
    starting = {"ec2:CreateAction": ["RunInstances"]}
    assert tags("Name", "project", "ray-cluster-name", "ray-node-type", **starting)
    assert not tags("ray-cluster-name"), "an instance that is there already"
    assert not tags("ray-cluster-name", **OURS)
    assert not tags("owner", **starting)
    assert tags("ray-node-status", **OURS)
    assert not tags("ray-node-status", **{"aws:ResourceTag/ray-cluster-name": ["payroll"]})
    assert not is_allowed(HEAD, "ec2:CreateTags", INSTANCE.replace("instance/i-1", "volume/v-1"), context=starting)


def test_what_ray_tags_is_what_may_be_tagged():
    """By Ray's own source: what its autoscaler sets when it starts a node, and when it tells a node's state."""
    from ray.autoscaler import tags as names
    from ray.autoscaler._private import updater

    every = {name: value for name, value in vars(names).items() if name.startswith("TAG_RAY_")}
    assert tags("Name", "project", *every.values(), **{"ec2:CreateAction": ["RunInstances"]})
    used = set(re.findall(r"TAG_RAY_\w+", inspect.getsource(updater)))
    assert "TAG_RAY_NODE_STATUS" in used
    assert tags(*(every[name] for name in used), **OURS)


def test_the_role_that_is_passed_is_the_worker_s():
    ec2 = {"iam:PassedToService": ["ec2.amazonaws.com"]}
    role = "arn:aws:iam::123456789012:role/"
    assert is_allowed(HEAD, "iam:PassRole", f"{role}m3ray-worker", context=ec2)
    assert not is_allowed(HEAD, "iam:PassRole", f"{role}admin", context=ec2)
    assert not is_allowed(HEAD, "iam:PassRole", f"{role}m3ray-worker", context={"iam:PassedToService": ["lambda"]})


def request_of(method, path):
    """Action, resource and context of a request to S3, as AWS's documentation has them."""
    parts = urlsplit(path)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    if not key and "list-type" in query:
        return "s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": query.get("prefix", [""])}
    if method == "DELETE":
        action = "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"
    else:
        action = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "POST": "s3:PutObject"}[method]
    return action, f"arn:aws:s3:::{bucket}/{key}", {}


def work(root):
    """What jobs do to a root: shards, merging, JSON, probes, a lock, folders that go."""
    root.exists()
    with hold_lock(root, "extract", tell=print):
        for name in "ab":
            root.write_shard(pa.table({"clip_id": [name]}), ("features", "raw-1"), {})
        compact(root, "features", "raw-1")
        root.write_json({}, "artifacts", "tiers.json")
        assert root.read_json("artifacts", "tiers.json") == {}
        root.write_bytes(b"x", "runs", "write-test")
        root.delete("runs", "write-test")
        assert not root.exists("catalogue.parquet")
    assert root.read_ids("features", "raw-1").to_pylist() == ["a", "b"]
    root.delete_folder("features", "raw-1")


def test_every_request_that_a_root_s_work_makes_is_allowed(tmp_path):
    for k in range(12):  # so many that their contents are listed, not asked for one by one
        (tmp_path / f"{k}.mp4").write_bytes(b"1234")
    with scripted_s3(lambda *_: None) as requests_made:
        upload(tmp_path, "s3://films/clips")
        upload(tmp_path, "s3://studies/elsewhere")
        requests_made.clear()
        root = Root("s3://studies/team/root")
        work(root)
        clips = list_clips(root, "folder", "s3://films/clips", limit=None, seed=0, write=False).table
        uris = clips["uri"].to_pylist()
        assert read_video(uris[0], 10) == b"1234"
        assert len(find_object_contents(uris)) == len(uris) == 12
        assert len(find_object_contents(uris[:1])) == 1
    requests = [request_of(*each) for each in requests_made if "delete" not in parse_qs(urlsplit(each[1]).query, True)]
    refused = [each for each in requests if not is_allowed(WORKER, each[0], each[1], context=each[2])]
    assert not refused
    made = {action for action, _, _ in requests}
    assert {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"} <= made
