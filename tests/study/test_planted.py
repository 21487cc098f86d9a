"""What was planted beside what was found: strengths and shares from the formula, verdicts from the corrected stars."""

import numpy as np
import pandas as pd
import pytest

from m3ray.datasets.demo import make_demo
from m3ray.datasets.demo_traits import STRENGTHS
from m3ray.schema import catalogue_table
from m3ray.storage.root import Root
from m3ray.study.planted import (
    EFFECTS,
    compare_planted,
    has_planted,
    known_ceiling,
    summarise_planted,
)
from m3ray.study.variants import study_variants


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    made = make_demo(Root(str(tmp_path_factory.mktemp("planted"))), 300, write=False)
    return catalogue_table(made).to_pandas()


def make_trials(estimates):
    rows = [
        {"variant": name, "delta_spearman": d, "delta_low": d - 0.02, "delta_high": d + 0.02, "delta_p": 0.5}
        for name, d in estimates.items()
    ]
    return pd.DataFrame(rows)


def correct(**by_row):
    tables = {2: {}, 3: {}}
    for effect in EFFECTS:
        tables[effect.table][effect.row] = by_row.get(effect.row, 0.5)
    return tables


def test_every_effect_names_a_row_that_the_study_has():
    tables = study_variants([1, 2, 3], ["raw", "scene", "event", "similarity"])
    for effect in EFFECTS:
        assert effect.row in [variant.name for variant in tables[effect.table]]
        assert effect.trait is None or effect.trait in STRENGTHS
    assert {effect.trait for effect in EFFECTS} == {*STRENGTHS, None}, "nothing that was planted is left out"


def test_strength_and_share_are_those_of_the_formula(clips):
    """An even trait of strength s has the variance s^2 / 12."""
    rows = compare_planted(clips, make_trials({}), {}, 188)
    motion = next(row for row in rows if row.effect.trait == "motion")
    assert motion.strength == STRENGTHS["motion"]
    assert motion.share == pytest.approx(0.24**2 / 12 / clips["drawn_probability"].var(), rel=0.2)
    assert [row.verdict for row in rows] == ["not run"] * len(EFFECTS)


def test_shares_add_up_to_the_formula_s_part_however_traits_vary_together(clips):
    """Var(p) = cov(sum of the parts, p) + cov(the rest, p): the rest is noise of 0.01, 1 % of the variance or less."""
    rows = compare_planted(clips, make_trials({}), {}, 188)
    probability = clips["drawn_probability"].to_numpy()
    parts = {trait: strength * clips[f"drawn_{trait}"].to_numpy() for trait, strength in STRENGTHS.items()}
    for row in rows:
        if row.effect.trait is not None:
            assert row.share == pytest.approx(
                np.cov(parts[row.effect.trait], probability)[0, 1] / probability.var(ddof=1)
            )
    assert sum({row.effect.trait: row.share for row in rows}.values()) == pytest.approx(1, abs=0.02)


def test_found_is_a_star_of_a_row_that_ranks_worse(clips):
    names = [effect.row for effect in EFFECTS]
    worse, better, unsure = names[0], names[1], names[2]
    false = next(effect.row for effect in EFFECTS if effect.trait is None)
    trials = make_trials(dict.fromkeys(names, -0.05) | {better: 0.05})
    rows = {
        row.effect.row: row
        for row in compare_planted(
            clips, trials, correct(**{worse: 0.01, better: 0.01, unsure: 0.06, false: 0.04}), 188
        )
    }
    assert rows[worse].verdict == "found"
    assert rows[better].verdict == "not found", "leaving it out helps, which is not what was planted"
    assert rows[unsure].verdict == "not found"
    assert rows[false].verdict == "a false star"
    assert (rows[worse].estimate, rows[worse].low, rows[worse].high) == (-0.05, -0.07, pytest.approx(-0.03))
    assert summarise_planted(list(rows.values())) == (
        "1 of 5 planted effects have a star, and 1 of the 4 that were not planted."
    )


def test_without_a_corrected_p_no_star_can_be_so_nothing_is_told(clips):
    """Of two runs there is none: neither "not found" nor "rightly without a star" would be true."""
    names = [EFFECTS[0].row, EFFECTS[-1].row]
    rows = compare_planted(clips, make_trials(dict.fromkeys(names, -0.2)), correct(**dict.fromkeys(names, np.nan)), 188)
    for row in (rows[0], rows[-1]):
        assert (row.p, row.has_star, row.verdict) == (None, False, "cannot be told: no p")
    assert summarise_planted(rows) == (
        "Of 2 of the 9 effects it cannot be told whether the study finds them: too few runs or clips for a p."
    )


@pytest.mark.parametrize(("val_clips", "told"), [(2, False), (29, False), (30, True)])
def test_of_few_val_clips_nothing_is_told_but_what_has_a_star(clips, val_clips, told):
    """30 is where the cautions end that val has too few clips."""
    names = [effect.row for effect in EFFECTS]
    starred = names[0]
    rows = compare_planted(clips, make_trials(dict.fromkeys(names, -0.05)), correct(**{starred: 0.01}), val_clips)
    reason = f"cannot be told: {val_clips} val clips"
    assert [row.verdict for row in rows[:2]] == ["found", "not found" if told else reason]
    assert rows[-1].verdict == ("rightly without a star" if told else reason)
    counted = "1 of 5 planted effects have a star, and 0 of the 4 that were not planted."
    left = (
        f" Of 8 of the 9 effects it cannot be told whether the study finds them: {val_clips} val clips, and 30 are the "
        "fewest that tell much."
    )
    assert summarise_planted(rows) == counted + ("" if told else left)
    none = compare_planted(clips, make_trials(dict.fromkeys(names, -0.05)), correct(), val_clips)
    assert ("have a star" in summarise_planted(none)) == told, "a count of stars that cannot be says nothing"


def test_the_ceiling_is_the_rank_correlation_of_scores_and_probabilities(clips):
    """Spearman's rho in plain NumPy: Pearson's of the ranks, which no two clips share."""
    part = clips.assign(split=np.where(np.arange(len(clips)) % 2, "val", "train"))
    val = part[part["split"] == "val"].drop_duplicates("score")
    score, chance = (np.argsort(np.argsort(val[name].to_numpy())) for name in ("score", "drawn_probability"))
    expected = np.corrcoef(score, chance)[0, 1]
    assert known_ceiling(pd.concat([val, part[part["split"] == "train"]])) == pytest.approx(expected)
    assert known_ceiling(val.head(1)) is None


def test_only_a_catalogue_that_says_what_was_drawn_has_something_planted(clips):
    assert has_planted(list(clips.columns))
    assert not has_planted(["clip_id", "score", "motion", "brightness_drawn", "texture"]), "an older demo's"


def test_a_row_whose_runs_stopped_early_has_no_star_as_in_its_table(clips):
    name = EFFECTS[0].row
    trials = make_trials({name: -0.2})
    corrected = correct(**{name: 0.001})
    assert compare_planted(clips, trials, corrected, 188)[0].verdict == "found"
    stopped = trials.assign(status="1 of 4 runs stopped early: diverged")
    assert compare_planted(clips, stopped, corrected, 188)[0].p is None
