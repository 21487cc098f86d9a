"""Columns and scores, checked before anything is extracted."""

import numpy as np
import pyarrow as pa
import pytest
from made_roots import made_root

from m3ray.config.options import AblateOptions, ExtractOptions, ReproduceOptions, TrainOptions, TuneOptions
from m3ray.errors import ConfigError, SchemaError, StudyError
from m3ray.request.checks import check_request
from m3ray.request.scores import check_enough_scores
from m3ray.storage.catalogue_file import read_catalogue


def table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return {"out": str(tmp_path / "o"), "dataset": "table", "root": str(tmp_path / "t.csv")}


def rows(header, count=6, value="0.{k}1"):
    return header + "".join(f"{k}.mp4,{value.format(k=k)}\n" for k in range(count))


@pytest.mark.parametrize("kind", [ExtractOptions, TrainOptions, ReproduceOptions])
@pytest.mark.parametrize("name", ["Score", "SCORE", "scores", " score_"])
def test_a_column_that_is_nearly_score_is_refused_at_once(tmp_path, kind, name):
    with pytest.raises(SchemaError, match=r"the name that is read is 'score'"):
        check_request(kind(**table(tmp_path, rows(f"uri,{name}\n"))))


def test_labels_likewise(tmp_path):
    with pytest.raises(SchemaError, match=r"a column 'Labels'; the name that is read is 'labels'"):
        check_request(ExtractOptions(**table(tmp_path, rows("uri,Labels\n", value="dog"))))


def test_training_without_any_score_is_refused_before_the_features(tmp_path):
    words = r"none of the 6 clips has a score.*; this one has memorability"
    with pytest.raises(StudyError, match=words) as error:
        check_request(TrainOptions(**table(tmp_path, rows("uri,memorability\n"))))
    assert error.value.exit_status == 2
    assert check_request(ReproduceOptions(**table(tmp_path, rows("uri,memorability\n")))).listing is not None


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
    check_enough_scores(check_request(TrainOptions(**table(tmp_path, rows("uri,score\n")))).listing.table)
    check_enough_scores(pa.table({"score": pa.nulls(3, pa.float64()), "split": pa.nulls(3, pa.string())}))


ALL_TRAIN = "uri,score,split\n" + "".join(f"{k}.mp4,0.{k}1,train\n" for k in range(8))
NO_VAL = "8 clips have a score, 8 of them train and 0 val: training needs at least 2 in train and 2 in val"


@pytest.mark.parametrize("kind", [TrainOptions, ReproduceOptions])
@pytest.mark.parametrize("dry", [False, True])
def test_a_table_without_val_is_told_by_the_request_alone(tmp_path, kind, dry):
    with pytest.raises(StudyError, match=NO_VAL) as error:
        check_request(kind(**table(tmp_path, ALL_TRAIN), dry_run=dry))
    assert "give rows of split val, or leave the column split out" in str(error.value)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("kind", [TrainOptions, ReproduceOptions])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        # One clip alone is left for val, whatever is drawn.
        ("uri,score,split\na.mp4,0.1,train\nb.mp4,0.2,train\nc.mp4,0.3,train\nd.mp4,0.4,\n", "of them train and"),
        # All clips without a split show a train clip's video.
        ("clip_id,uri,score,split\n0,a.mp4,0.1,train\n1,b.mp4,0.2,train\n2,a.mp4,0.3,\n3,b.mp4,0.4,\n",
         "4 of them train and 0 val"),
        ("uri,score,split\na.mp4,0.1,train\nb.mp4,0.2,train\nc.mp4,0.3,val\nd.mp4,0.3,val\n",
         r"all 2 val scores are 0\.3: their rank correlation is undefined"),
    ],
)  # fmt: skip
def test_splits_that_a_draw_cannot_mend_are_told(tmp_path, kind, text, words):
    with pytest.raises(StudyError, match=words):
        check_request(kind(**table(tmp_path, text)))


def test_one_group_of_all_clips_has_no_val(tmp_path):
    text = "uri,score,film\n" + "".join(f"{k}.mp4,0.{k}1,one\n" for k in range(8))
    with pytest.raises(StudyError, match=NO_VAL):
        check_request(TrainOptions(**table(tmp_path, text), group="film"))


def test_the_scores_are_those_of_the_target(tmp_path):
    """Val has scores, but no decay rate."""
    clips = "".join(f"{k}.mp4,0.{k}1,{'train' if k < 5 else 'val'},{f'-0.00{k}' if k < 5 else ''}\n" for k in range(8))
    text = "uri,score,split,alpha\n" + clips
    assert check_request(TrainOptions(**table(tmp_path, text))).listing is not None
    with pytest.raises(StudyError, match="5 clips have a value of alpha, 5 of them train and 0 val"):
        check_request(TrainOptions(**table(tmp_path, text), target="alpha"))


def test_clips_without_the_user_s_tier_do_not_count(tmp_path):
    text = "clip_id,uri,score,split\n" + "".join(
        f"{k},{k}.mp4,0.{k % 9}1,{'train' if k < 48 else 'val'}\n" for k in range(50)
    )
    np.savez(tmp_path / "text.npz", clip_id=np.arange(48).astype(str), text=np.eye(48, dtype=np.float32))
    sees = {"tier": (f"text={tmp_path / 'text.npz'}",), "tiers": ("text",)}
    with pytest.raises(StudyError, match="48 clips have a score and their tiers, 48 of them train and 0 val"):
        check_request(TrainOptions(**table(tmp_path, text), **sees))


@pytest.mark.parametrize("kind", [AblateOptions, TuneOptions])
def test_a_root_without_val_is_told_by_the_request_alone(tmp_path, kind):
    root = made_root(tmp_path / "o", rows=40)
    catalogue = read_catalogue(root)
    is_val = catalogue.column_names.index("split")
    train = catalogue.set_column(is_val, "split", pa.array(["train"] * 40))
    root.write_table(train, "catalogue.parquet")
    words = "40 clips have a score, 40 of them train and 0 val: .*a root keeps the splits that it has"
    with pytest.raises(StudyError, match=words):
        check_request(kind(out=root.uri))
    root.write_table(catalogue, "catalogue.parquet")
    assert check_request(kind(out=root.uri)).options.out == root.uri


def test_a_measure_that_needs_labels_is_told_where_there_are_none(tmp_path):
    """It was told once all tiers were computed."""
    asked = table(tmp_path, rows("uri,score\n"))
    with pytest.raises(ConfigError, match="--measure kde_labels needs labels, and no clip has any: choose another"):
        check_request(TrainOptions(**asked, measure="kde_labels", tiers=("scene", "similarity")))
    check_request(TrainOptions(**asked, measure="kde_labels", tiers=("scene",)))
    check_request(TrainOptions(**asked, measure="cosine_mean", tiers=("scene", "similarity")))


@pytest.mark.parametrize("kind", [AblateOptions, TuneOptions])
def test_networks_are_not_trained_where_the_root_has_none(tmp_path, kind):
    root = made_root(tmp_path / "o", rows=40)
    (tmp_path / "o" / "artifacts" / "tiers.json").write_text('{"raw": {"folder": "raw-made", "untrained": true}}')
    with pytest.raises(ConfigError, match="--unfrozen small: the model sees raw: no scene and no event to train"):
        check_request(kind(out=root.uri, unfrozen="small"))
