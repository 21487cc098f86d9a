"""Columns and scores, checked before anything is extracted."""

import pyarrow as pa
import pytest

from m3ray.config.options import ExtractOptions, ReproduceOptions, TrainOptions
from m3ray.datasets.listing import Listing
from m3ray.errors import SchemaError, StudyError
from m3ray.request.checks import check_request
from m3ray.request.scores import check_enough_scores


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
    check_enough_scores(check_request(TrainOptions(**table(tmp_path, rows("uri,score\n")))).listing)
    check_enough_scores(None)
    check_enough_scores(Listing(pa.table({"score": pa.nulls(3, pa.float64())})))
