"""benchmarks/real_data.py: public sets in the shapes they are given out in, its goal, and its errors."""

import numpy as np
import pytest
import real_data
from archives import pack
from published import memento_csv, memento_json, videomem_csv
from published_images import figrim_table, lamem, memcat, things
from real_data import describe_goal, describe_goals, parse, show_set
from real_data_sets import list_wanted, load_set
from real_data_texts import VIEWERS, draw_scores, write_texts
from tabular import PEERS, Medians, Result
from tabular_ours import BUNDLE, OURS

from m3ray.errors import ConfigError


def wanted_of(*arguments):
    return list_wanted(parse([str(argument) for argument in arguments]), {})


def test_video_sets_are_read_from_captions_alone(tmp_path):
    memento_csv(tmp_path / "csv")
    memento_json(tmp_path / "json")
    videomem_csv(tmp_path / "vm")
    lines = "".join(f"video{k}.webm\tclip-number-{k % 7}\n" for k in range(100))
    (tmp_path / "vm" / "dev-set_video-captions.txt").write_text(lines)
    memento, videomem = wanted_of("--memento", tmp_path / "csv", "--videomem", tmp_path / "vm")
    loaded = load_set(memento, 0)
    assert (len(loaded.data.train), len(loaded.data.val), loaded.seen) == (80, 40, "captions")
    assert 0.8 < float(loaded.ceiling) < 1  # its viewers are known: published.rows says 0.94
    assert load_set(wanted_of("--memento", tmp_path / "json")[0], 0).ceiling.startswith("unknown")
    drawn = [load_set(videomem, seed).data for seed in (0, 1)]
    assert [len(data.train) + len(data.val) for data in drawn] == [100, 100]
    assert set(drawn[0].val) != set(drawn[1].val)
    assert (memento.has_own_split, videomem.has_own_split) == (True, False)


def test_sets_of_images_are_read_by_their_labels(tmp_path):
    memcat(tmp_path / "memcat", images=False)
    figrim_table(tmp_path / "figrim")
    things(tmp_path / "things", images=False)
    for wanted in wanted_of(*(a for n in ("memcat", "figrim", "things") for a in (f"--{n}", tmp_path / n))):
        loaded = load_set(wanted, 0)
        assert loaded.seen == "labels", wanted.name
        assert len(loaded.data.train) + len(loaded.data.val) >= 19
    lamem(tmp_path / "lamem", images=False)
    with pytest.raises(ConfigError, match="neither captions nor labels: give --features lamem=ROOT"):
        load_set(wanted_of("--lamem", tmp_path / "lamem")[0], 0)


def test_the_fit_sees_train_alone(tmp_path):
    """Other captions of val change no number of train."""
    matrices = []
    for words in ("number", "zebra quilt"):
        memento_csv(tmp_path / words)
        file = tmp_path / words / "dev_set" / "dev_text_descriptions.csv"
        file.write_text(file.read_text("utf-8-sig").replace("number", words))
        data = load_set(wanted_of("--memento", tmp_path / words)[0], 0).data
        matrices.append(data.features.values)
    np.testing.assert_array_equal(*(matrix[data.train] for matrix in matrices))
    assert not np.array_equal(*(matrix[data.val] for matrix in matrices))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memento", "/nowhere"], "--memento /nowhere: no such folder or file"),
        (["--table", "mine=/nowhere.csv"], "mine= /nowhere.csv: no such folder or file"),
        (["--table", "mine"], "--table 'mine': expected NAME=PATH"),
        (["--features", "lamem=/root"], "--features lamem=...: no --lamem and no --table lamem=FILE is given"),
        ([], "nothing to read: give at least one of --memento, "),
    ],
)
def test_what_is_missing_is_told_before_any_work(arguments, message, capsys):
    assert real_data.main(arguments) == 2
    assert message in capsys.readouterr().err


def results(name, ours, ridge):
    rho = {"constant": float("nan"), "ridge": ridge, "SVR": ridge - 0.1, "boosting": ridge - 0.2}
    rho |= dict.fromkeys(OURS, ridge - 0.05) | {BUNDLE: ours}
    return [Result(name, 0, model, value, 0.01, 0.0, 2.0) for model, value in rho.items()]


def test_the_goal_is_told_set_by_set_and_over_all():
    medians = Medians([*results("a", 0.51, 0.5), *results("b", 0.498, 0.5), *results("c", 0.496, 0.5)])
    assert describe_goal(medians, "a") == "goal: bundle - ridge: +0.0100, at least -0.003: met"
    assert describe_goal(medians, "b").endswith("-0.0020, at least -0.003: met")
    assert describe_goal(medians, "c").endswith("-0.0040, at least -0.003: MISSED")
    assert describe_goals(medians).endswith("on 2 of 3, above it on 1: MISSED")
    assert describe_goals(Medians(results("a", 0.51, 0.5))).endswith("on 1 of 1, above it on 1: met")
    constant = Medians(results("d", float("nan"), 0.1))
    assert describe_goal(constant, "d").endswith("-0.1000, at least -0.003: MISSED"), "a constant ranks nothing"
    lines = show_set(medians, "a", "80 train + 20 val clips", "0.900")
    assert [line.split("|")[1].strip() for line in lines[4 : 4 + len(PEERS) + len(OURS)]] == [*PEERS, *OURS]
    assert "ceiling: 0.900" in lines


def test_sentences_become_tables_with_a_known_ceiling(tmp_path):
    """The layout of VADER's source package: an archive in an archive, with two files of rated sentences."""
    lines = "".join(f"{k // 3}_{k % 3}\t{k % 5 - 2}\tword{k % 7} other{k % 11} thing{k % 13}\n" for k in range(150))
    names = [f"hutto_ICWSM_2014/{name}_GroundTruth.txt" for name in ("tweets", "amazonReviewSnippets")]
    inner = pack(dict.fromkeys(names, lines.encode()))
    (tmp_path / "v.tar.gz").write_bytes(pack({"v/additional_resources/hutto_ICWSM_2014.tar.gz": inner}))
    files = write_texts(tmp_path / "v.tar.gz", tmp_path)
    assert list(files) == ["tweets, rated", "tweets, drawn", "reviews, rated", "reviews, drawn"]
    sets = list_wanted(parse([]), files)
    drawn = load_set(sets[3], 0)
    assert 0.5 < float(drawn.ceiling) < 1  # of 30 clips; its chances and viewers give 0.1 / hypot(0.1, 0.046) = 0.91
    assert not set(drawn.data.groups[drawn.data.train]) & set(drawn.data.groups[drawn.data.val])
    assert load_set(sets[2], 0).ceiling.startswith("unknown")


def test_drawn_shares_vary_by_words_and_by_viewers():
    """Chances deviate by 0.1 about 0.75, shares of 90 viewers by sqrt(0.75 * 0.25 / 90) = 0.046 about their chance."""
    texts = [f"word{k} other{3 * k}" for k in range(2000)]
    scores, viewers = draw_scores(texts)
    assert viewers == VIEWERS == 90
    assert scores.mean() == pytest.approx(0.75, abs=0.01)
    assert scores.std() == pytest.approx(np.hypot(0.1, 0.046), abs=0.01)
    assert np.array_equal(scores, draw_scores(texts)[0])
