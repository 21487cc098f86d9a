"""Access to storage, from the options: no secrets in them, and buckets that are read otherwise."""

import dataclasses

import pytest

from m3ray.config import StorageConfig
from m3ray.config.options import ExtractOptions, PredictOptions, TrainOptions
from m3ray.errors import ConfigError
from m3ray.request.checks import check_request
from m3ray.request.storage import check_secrets, use_storage
from m3ray.storage.schemes import s3_access_options

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
        check_request(kind(**{"out": str(tmp_path / "o"), **given}))
    assert "hu" not in str(error.value).replace("through", "")
    assert list(tmp_path.iterdir()) == []


def test_options_without_secrets_pass():
    check_secrets(ExtractOptions(out="s3://b/token=1", tier=("text=s3://b/a:b@c.csv",), root="/videos/user:word@home"))


def test_a_weights_file_s_secret_is_refused(tmp_path):
    (tmp_path / "w.json").write_text('{"scene": {"url": "https://h/w.pth?X-Amz-Signature=hush"}}')
    with pytest.raises(ConfigError, match=r"the file of scene carries credentials.*download it") as error:
        check_request(
            ExtractOptions(out=str(tmp_path / "o"), limit=2, tiers=("scene",), weights=str(tmp_path / "w.json"))
        )
    assert "hush" not in str(error.value)


def test_buckets_are_the_options_own_or_those_that_the_root_keeps(tmp_path, monkeypatch):
    from m3ray.storage.dataset_record import DatasetRecord, apply_record
    from m3ray.storage.root import Root
    from m3ray.storage.root_record import read_record, write_record

    for name in ("M3RAY_ANONYMOUS_BUCKETS", "M3RAY_REQUESTER_PAYS_BUCKETS"):
        monkeypatch.setenv(name, "")
    out = str(tmp_path / "o")
    storage = StorageConfig(anonymous=("open",))
    use_storage(ExtractOptions(out=out, storage=storage))
    assert s3_access_options("open") == {"skip_signature": True}
    use_storage(ExtractOptions(out=out))
    assert s3_access_options("open") == {}
    kept = dataclasses.asdict(storage)
    write_record(Root(out), DatasetRecord("table", "/t.csv", {"storage": kept}))
    use_storage(ExtractOptions(out=out))
    assert s3_access_options("open") == {"skip_signature": True}
    assert apply_record(ExtractOptions(out=out), read_record(Root(out))).storage == storage


def table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return {"out": str(tmp_path / "o"), "dataset": "table", "root": str(tmp_path / "t.csv")}
