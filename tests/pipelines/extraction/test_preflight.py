"""What is asked of workers before the first clip, and what is said of their answers. Without Ray."""

import dataclasses

import pyarrow as pa
import pytest

from m3ray.config import StorageConfig
from m3ray.config.options import ExtractOptions, PredictOptions, ReproduceOptions, TrainOptions
from m3ray.console import LineKeeper
from m3ray.datasets.listing import Listing
from m3ray.errors import ConfigError, SchemaError, StorageError, StudyError
from m3ray.pipelines.extraction import preflight, worker_checks
from m3ray.pipelines.extraction.worker_checks import Finding, Later, WorkerCheck, refusals, refused
from m3ray.pipelines.runtime.node_kinds import Node, kind_of, one_of_each_kind, working_nodes
from m3ray.request.checks import prepared
from m3ray.request.scores import check_enough
from m3ray.request.storage import check_secrets, use_storage
from m3ray.storage.schemes import access_of
from m3ray.video.access import Look, Refusal

NODE = Node("n", "10.0.0.7", "16 CPUs, 1 GPUs L4, 62 GiB")
CHECK = WorkerCheck("s3://roots/r", None, (("s3://clips/a.mp4",), ("/videos/b.mp4",)))
DENIED = Refusal("read", "s3://clips/a.mp4", "AccessDenied", "Access Denied")
ALL = Finding((Look("s3://clips/a.mp4"), Look("/videos/b.mp4")))


def entry(number, address, resources, labels=None, alive=True):
    own = {f"node:{address}": 1.0, "memory": 62.4 * 2**30, "object_store_memory": 1e9}
    known = {"NodeID": str(number), "NodeManagerAddress": address, "Alive": alive, "Labels": labels}
    return {**known, "Resources": own | resources}


# Kinds of nodes.


def test_nodes_of_one_shape_are_of_one_kind():
    gpu = {"CPU": 16.0, "GPU": 1.0, "accelerator_type:L4": 1.0}
    nodes = [entry(k, f"10.0.0.{k}", gpu) for k in range(3)] + [entry(9, "10.0.0.9", {"CPU": 16.0})]
    kinds = one_of_each_kind(working_nodes(nodes))
    assert [(node.id, node.kind) for node in kinds] == [("0", "16 CPUs, 1 GPUs L4, 62 GiB"), ("9", "16 CPUs, 62 GiB")]


def test_groups_of_one_shape_are_kinds_of_their_own():
    """Their roles and networks may differ."""
    labels = [{"ray.io/node-group": "spot"}, {"ray.io/node-group": "on-demand"}, {}]
    found = {kind_of(entry(0, "a", {"CPU": 4.0}, one)) for one in labels}
    assert found == {"spot: 4 CPUs, 62 GiB", "on-demand: 4 CPUs, 62 GiB", "4 CPUs, 62 GiB"}


def test_heads_without_work_and_dead_nodes_are_not_asked():
    nodes = [entry(0, "a", {"node:__internal_head__": 1.0}), entry(1, "b", {"CPU": 2.0}, alive=False)]
    assert working_nodes(nodes) == []


# What is said of an answer.


def test_nodes_that_may_do_it_all():
    assert refusals(ALL, CHECK, (True, True)) == []


def test_a_line_names_the_node_what_was_tried_the_answer_and_what_to_do():
    found = refusals(dataclasses.replace(ALL, looks=(Look(refusal=DENIED), ALL.looks[1])), CHECK, (True, True))
    assert refused(NODE, found) == (
        "preflight: the workers of 10.0.0.7 (16 CPUs, 1 GPUs L4, 62 GiB) cannot read s3://clips/a.mp4: 403 "
        "AccessDenied (Access Denied), though the driver can: give the workers' role s3:GetObject on "
        "arn:aws:s3:::clips/*"
    )


def test_where_the_driver_cannot_either_that_is_said():
    found = refusals(dataclasses.replace(ALL, looks=(Look(refusal=DENIED), ALL.looks[1])), CHECK, (False, True))
    assert "nor can the driver: give the workers' and the driver's role s3:GetObject" in refused(NODE, found)


def test_writing_and_reading_are_told_together():
    written = Refusal("write", "s3://roots/r/runs/x", "NoCredentials", "no credentials")
    finding = Finding((Look(refusal=DENIED), ALL.looks[1]), written=written)
    line = refused(NODE, refusals(finding, CHECK, (True, True)))
    assert "cannot read s3://clips/a.mp4" in line
    assert "; cannot write s3://roots/r/runs/x: NoCredentials (no credentials)" in line
    assert "give the workers' machines a role with s3:PutObject on arn:aws:s3:::roots/*" in line


def test_videos_on_the_driver_s_own_disk_are_told_from_missing_ones():
    finding = Finding((ALL.looks[0], Look()))
    assert refusals(finding, CHECK, (True, False)) == [], "nobody sees it: a clip that is missing"
    line = refused(NODE, refusals(finding, CHECK, (True, True)))
    assert "cannot read /videos/b.mp4: it is on the driver's machine and not on theirs: put the videos where" in line


def test_missing_objects_are_the_clips_own():
    assert refusals(Finding((Look(), ALL.looks[1])), CHECK, (True, True)) == []


def test_a_root_on_the_driver_s_own_disk_is_told_and_no_folder_of_its_name_made(tmp_path):
    check = WorkerCheck(str(tmp_path / "root"), "write-test-of-the-driver", ())
    finding = check.finding()
    assert not finding.shared
    assert not (tmp_path / "root").exists()
    line = refused(NODE, refusals(finding, check, ()))
    assert "it is on the driver's machine and not on theirs: put the root (--out) where all nodes see it" in line


def test_a_finding_of_this_machine(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    finding = WorkerCheck(str(tmp_path), None, ((str(tmp_path / "a.mp4"),),)).finding()
    assert finding.looks == (Look(str(tmp_path / "a.mp4")),)
    assert (finding.written, finding.shared) == (None, True)
    assert {"torch", "av", "numpy"} <= set(finding.software)


def test_a_storage_that_hangs_is_told_in_time(monkeypatch, tmp_path):
    from threading import Event

    monkeypatch.setattr(worker_checks, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(worker_checks, "look", lambda _: Event().wait(5))
    (there,) = WorkerCheck(str(tmp_path), None, (("s3://clips/a.mp4",),)).looks()
    assert there.refusal == Refusal("read", "s3://clips/a.mp4", "TimedOut", "no answer within 0 s")


def judged(monkeypatch, own, findings, node=NODE):
    """`check_workers` with answers that are given."""
    monkeypatch.setattr(preflight, "_ask", lambda _: {})
    monkeypatch.setattr(preflight, "_answers", lambda *_: findings)
    monkeypatch.setattr(WorkerCheck, "looks", lambda _: own)


def test_a_driver_without_rights_is_a_line(monkeypatch, tmp_path):
    from m3ray.storage.root import Root

    judged(monkeypatch, (Look(refusal=DENIED),), {NODE: Finding((Look("s3://clips/a.mp4"),))})
    with LineKeeper() as said:
        preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([["s3://clips/a.mp4"]]))
    (line,) = said.lines
    assert "preflight: the driver cannot read s3://clips/a.mp4: 403 AccessDenied" in line
    assert "though the workers can: the job goes on" in line
    assert "give the driver's role s3:GetObject on arn:aws:s3:::clips/*" in line


def test_kinds_that_refuse_are_counted(monkeypatch, tmp_path):
    from m3ray.storage.root import Root

    other = Node("m", "10.0.0.8", "8 CPUs, 30 GiB")
    finding = Finding((Look(refusal=DENIED),))
    judged(monkeypatch, (Look("s3://clips/a.mp4"),), {NODE: finding, other: finding})
    with pytest.raises(ConfigError, match=r"of 10\.0\.0\.7 .*; 1 more kinds of nodes likewise$") as error:
        preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([["s3://clips/a.mp4"]]))
    assert error.value.exit_status == 2
    assert list((tmp_path / "runs").iterdir()) == [], "the driver's own file is deleted"


def test_a_child_that_can_reach_the_network_is_said(monkeypatch, tmp_path):
    from m3ray.storage.root import Root

    exposed = Finding((Look("s3://clips/a.mp4"),), exposed="EPERM: set sysctl user.max_user_namespaces to 10000")
    judged(monkeypatch, (Look("s3://clips/a.mp4"),), {NODE: exposed})
    with LineKeeper() as said:
        preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([["s3://clips/a.mp4"]]))
    (line,) = said.lines
    assert (
        "preflight: on 10.0.0.7 (16 CPUs, 1 GPUs L4, 62 GiB) the decoding child can reach the network: unshare is "
        "refused there (EPERM: set sysctl user.max_user_namespaces to 10000)" in line
    )


def test_where_nothing_is_to_be_read_nothing_is_asked(monkeypatch, tmp_path):
    """A finished root goes on though its videos are gone."""
    from m3ray.storage.root import Root

    judged(monkeypatch, None, None)
    assert preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([[]], pa.string())) == {}


def test_a_later_node_of_a_known_kind_is_not_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(worker_checks, "this_node", lambda: NODE)
    monkeypatch.setattr(WorkerCheck, "finding", lambda _: asked.append(1) or ALL)
    Later(CHECK, (True, True), frozenset({NODE.kind}), "job").at_first_use()
    assert asked == []
    Later(CHECK, (True, True), frozenset(), "job").at_first_use()
    assert asked == [1]


def test_a_later_node_s_passing_fault_is_left_to_the_job(monkeypatch):
    """It waits for a network that is down; it does not stop all others."""
    asked = []

    def finding(code):
        refusal = Refusal("read", "s3://clips/a.mp4", code)
        return lambda _: asked.append(code) or Finding((Look(refusal=refusal), ALL.looks[1]))

    monkeypatch.setattr(worker_checks, "this_node", lambda: NODE)
    monkeypatch.setattr(WorkerCheck, "finding", finding("ConnectionFailed"))
    assert Later(CHECK, (True, True), frozenset(), "job").at_first_use() is None
    monkeypatch.setattr(WorkerCheck, "finding", finding("AccessDenied"))
    with pytest.raises(StorageError, match="AccessDenied"):
        Later(CHECK, (True, True), frozenset(), "other job").at_first_use()
    assert asked == ["ConnectionFailed", "AccessDenied"]


# Secrets in options, in whichever.

SECRET = [
    (ExtractOptions, {"out": "s3://KEY:hu/sh@b/x"}, "--out"),
    (ExtractOptions, {"out": "s3://key:hush%2Fret@b"}, "--out"),
    (ExtractOptions, {"root": "https://user:hush@host/t.csv"}, "--root"),
    (ExtractOptions, {"videos": "https://b.s3.amazonaws.com/v?X-Amz-Signature=hush"}, "--videos"),
    (ExtractOptions, {"splits": "https://a.blob.core.windows.net/c/s?sv=1&sig=hush"}, "--splits"),
    (ExtractOptions, {"tier": ("text=s3://KEY:hush@b/t.csv",)}, "--tier"),
    (ExtractOptions, {"weights": "https://h/w.json?token=hush"}, "--weights"),
    (ExtractOptions, {"storage": StorageConfig(anonymous=("s3://KEY:hush@b",))}, "--storage.anonymous"),
    (PredictOptions, {"bundle": "s3://KEY:hush@b/models/m3s"}, "--bundle"),
    (TrainOptions, {"config": "https://user:hush@host/c.json"}, "--config"),
]


@pytest.mark.parametrize(("kind", "given", "name"), SECRET, ids=lambda value: str(value)[:30])
def test_a_secret_in_an_option_is_refused_by_the_option_s_name(tmp_path, kind, given, name):
    with pytest.raises(ConfigError, match=f"^{name} carries credentials") as error:
        prepared(kind(**{"out": str(tmp_path / "o"), **given}))
    assert "hu" not in str(error.value).replace("through", "")
    assert list(tmp_path.iterdir()) == []


def test_options_without_secrets_pass():
    check_secrets(ExtractOptions(out="s3://b/token=1", tier=("text=s3://b/a:b@c.csv",), root="/videos/user:word@home"))


def test_a_weights_file_s_secret_is_refused(tmp_path):
    (tmp_path / "w.json").write_text('{"scene": {"url": "https://h/w.pth?X-Amz-Signature=hush"}}')
    with pytest.raises(ConfigError, match=r"the file of scene carries credentials.*download it") as error:
        prepared(ExtractOptions(out=str(tmp_path / "o"), limit=2, tiers=("scene",), weights=str(tmp_path / "w.json")))
    assert "hush" not in str(error.value)


# Buckets that are not read as the root's.


def test_buckets_are_the_options_own_or_those_that_the_root_keeps(tmp_path, monkeypatch):
    from m3ray.storage.dataset_record import Record, settled
    from m3ray.storage.root import Root
    from m3ray.storage.root_record import read_record, write_record

    for name in ("M3RAY_ANONYMOUS_BUCKETS", "M3RAY_REQUESTER_PAYS_BUCKETS"):
        monkeypatch.setenv(name, "")
    out = str(tmp_path / "o")
    storage = StorageConfig(anonymous=("open",))
    use_storage(ExtractOptions(out=out, storage=storage))
    assert access_of("open") == {"skip_signature": True}
    use_storage(ExtractOptions(out=out))
    assert access_of("open") == {}
    kept = dataclasses.asdict(storage)
    write_record(Root(out), Record("table", "/t.csv", {"storage": kept}))
    use_storage(ExtractOptions(out=out))
    assert access_of("open") == {"skip_signature": True}
    assert settled(ExtractOptions(out=out), read_record(Root(out))).storage == storage


# Columns and scores, before anything is extracted.


def table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return {"out": str(tmp_path / "o"), "dataset": "table", "root": str(tmp_path / "t.csv")}


def rows(header, count=6, value="0.{k}1"):
    return header + "".join(f"{k}.mp4,{value.format(k=k)}\n" for k in range(count))


@pytest.mark.parametrize("kind", [ExtractOptions, TrainOptions, ReproduceOptions])
@pytest.mark.parametrize("name", ["Score", "SCORE", "scores", " score_"])
def test_a_column_that_is_nearly_score_is_refused_at_once(tmp_path, kind, name):
    with pytest.raises(SchemaError, match=r"the name that is read is 'score'"):
        prepared(kind(**table(tmp_path, rows(f"uri,{name}\n"))))


def test_labels_likewise(tmp_path):
    with pytest.raises(SchemaError, match=r"a column 'Labels'; the name that is read is 'labels'"):
        prepared(ExtractOptions(**table(tmp_path, rows("uri,Labels\n", value="dog"))))


def test_training_without_any_score_is_refused_before_the_features(tmp_path):
    words = r"none of the 6 clips has a score.*; this one has memorability"
    with pytest.raises(StudyError, match=words) as error:
        prepared(TrainOptions(**table(tmp_path, rows("uri,memorability\n"))))
    assert error.value.exit_status == 2
    assert prepared(ReproduceOptions(**table(tmp_path, rows("uri,memorability\n")))).listed is not None


@pytest.mark.parametrize("job", ["train", "reproduce"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uri,score\na.mp4,0.5\nb.mp4,0.6\nc.mp4,0.7\nd.mp4,\n", "3 clips have a score: training needs at least 2"),
        ("uri,score,split\na.mp4,0.1,train\nb.mp4,0.2,train\nc.mp4,0.3,test\nd.mp4,0.4,val\n",
         "4 clips have a score, 2 of them train and 1 val: training needs at least 2 in train and 2 in val"),
        ("uri,score\na.mp4,0.5\nb.mp4,0.5\nc.mp4,0.5\nd.mp4,0.5\n", r"all 4 scores are 0\.5"),
    ],
)  # fmt: skip
def test_too_few_scores_are_told_before_the_features(tmp_path, job, text, words):
    from m3ray.pipelines import jobs

    kind = {"train": TrainOptions, "reproduce": ReproduceOptions}[job]
    with pytest.raises(StudyError, match=words):
        getattr(jobs, job)(kind(**table(tmp_path, text)))
    assert not (tmp_path / "o").exists()


def test_enough_scores_pass(tmp_path):
    check_enough(prepared(TrainOptions(**table(tmp_path, rows("uri,score\n")))).listed)
    check_enough(None)
    check_enough(Listing(pa.table({"score": pa.nulls(3, pa.float64())})))


def test_workers_of_a_ray_of_our_own_have_it_in_their_environment(monkeypatch):
    from m3ray.pipelines.runtime.cluster import _for_workers

    for name in ("M3RAY_ANONYMOUS_BUCKETS", "M3RAY_REQUESTER_PAYS_BUCKETS"):
        monkeypatch.setenv(name, "")
    assert _for_workers() is None, "what starts workers as fast as before"
    monkeypatch.setenv("M3RAY_ANONYMOUS_BUCKETS", "open")
    assert _for_workers() == {"env_vars": {"M3RAY_ANONYMOUS_BUCKETS": "open"}}
