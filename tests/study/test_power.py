"""Power: against published tables, simulated t-tests, and the numbers of an audit."""

import numpy as np
import pytest
from scipy import stats

from m3ray.study.power import (
    Design,
    detectable_difference,
    needed_clips,
    needed_runs,
    predicted_power,
    typical_design,
)
from m3ray.study.statistics import Difference

# 4 runs that vary by 0.0028, 1,500 clips over which a difference varies by 0.0033, as on real scores.
REAL = Design(0.0028**2 / 4, 0.0033**2, 0.0, 4, 1500)


def test_power_is_that_of_the_one_sample_t_test():
    """Cohen 1988, Table 2.3: d = 0.5 and n = 34 differences have a power of 0.80 at 5 %, two-sided."""
    design = Design(1 / 34, 0.0, 0.0, 34, 10_000)
    assert predicted_power(0.5, design) == pytest.approx(0.80, abs=0.01)
    assert predicted_power(-0.5, design) == predicted_power(0.5, design)
    assert predicted_power(0.0, design) == pytest.approx(0.05, abs=1e-3)
    assert predicted_power(1e3, design) == 1


def test_power_is_the_share_of_simulated_studies():
    """Reference: 20,000 t-tests of 8 normal differences; their share is known to 0.4 points."""
    rng = np.random.default_rng(0)
    p = stats.ttest_1samp(0.8 + rng.standard_normal((20_000, 8)), 0, axis=1).pvalue
    assert predicted_power(0.8, Design(1 / 8, 0.0, 0.0, 8, 10_000)) == pytest.approx((p < 0.05).mean(), abs=0.012)


def test_a_study_as_they_are_made_finds_0_010_and_not_0_003():
    """The audit's simulation: 0.003 is found in 12 % of studies, about 0.010 in 80 %."""
    assert predicted_power(0.003, REAL) == pytest.approx(0.12, abs=0.02)
    assert detectable_difference(REAL) == pytest.approx(0.010, abs=0.001)
    assert predicted_power(detectable_difference(REAL), REAL) == pytest.approx(0.8, abs=1e-4)
    assert detectable_difference(REAL, 0.05 / 28) > 1.3 * detectable_difference(REAL)


def test_parts_of_the_variance_fall_with_what_they_vary_over():
    design = Design(seed_variance=3.0, clip_variance=4.0, interaction_variance=1.0, runs=2, clips=100)
    larger = design.resize(runs=4, clips=300)
    assert larger.seed_variance == pytest.approx(2 / 2 + 1 / 6)
    assert larger.interaction_variance == pytest.approx(1 / 6)
    assert larger.clip_variance == pytest.approx(4 / 3)
    assert (larger.runs, larger.clips) == (4, 300)
    assert design.resize() == design


def test_needed_numbers_are_the_least_that_are_enough():
    clips = needed_clips(0.01, REAL)
    assert predicted_power(0.01, REAL.resize(clips=clips)) >= 0.8 > predicted_power(0.01, REAL.resize(clips=clips - 1))
    runs = needed_runs(0.0095, REAL)
    assert predicted_power(0.0095, REAL.resize(runs=runs)) >= 0.8 > predicted_power(0.0095, REAL.resize(runs=runs - 1))
    assert needed_runs(1.0, REAL) == 2
    assert needed_clips(1.0, REAL) == 20


def test_where_the_other_part_is_too_large_no_number_is_enough():
    """2.8 standard errors of the clips alone are 0.0092; those of 4 runs alone are more, at 3 degrees of freedom."""
    assert needed_runs(0.005, REAL) is None
    assert needed_clips(0.005, REAL) is None


def test_nothing_that_varies_finds_everything():
    nothing = Design(0.0, 0.0, 0.0, 4, 100)
    assert detectable_difference(nothing) == 0
    assert predicted_power(0.1, nothing) == 1


def make_difference(seeds, clips, interaction=0.0):
    parts = {"seed_variance": seeds, "clip_variance": clips, "interaction_variance": interaction}
    return Difference(0.0, -1.0, 1.0, p=0.5, **parts)


def test_a_table_s_design_is_of_all_its_differences():
    """By hand: the clips' parts are 5, 4 and 30, their median 5; the runs' shares of them 0.2, 0.5 and 0.3."""
    rows = [make_difference(1.0, 5.0), make_difference(2.0, 4.0), make_difference(9.0, 30.0)]
    rows.append(Difference(0.1, reason="one run: no interval"))
    found = typical_design(rows, 4, 100)
    assert (found.seed_variance, found.clip_variance) == pytest.approx((5.0 / 3, 5.0))
    assert (found.interaction_variance, found.runs, found.clips) == (0.0, 4, 100)
    assert typical_design(rows[3:], 4, 100) is None


def test_runs_that_show_less_than_single_clips_by_chance_balance_those_that_show_more():
    """The clips' parts are 2 both, of which 1 is of single clips; the runs show 0.5 and 1.5 for that 1."""
    found = typical_design([make_difference(0.5, 1.5, 1.0), make_difference(1.5, 1.0, 1.0)], 4, 100)
    assert (found.seed_variance, found.clip_variance) == pytest.approx((1.0, 1.0))
    assert found.interaction_variance == 1.0
