"""Sentences on power, against the functions that give their numbers."""

from m3ray.reports.tables.power_notes import describe_power
from m3ray.study.power import Design, detectable_difference, needed_clips, needed_runs
from m3ray.study.statistics import Difference


def make(seeds, clips, interaction=0.0):
    parts = {"seed_variance": seeds, "clip_variance": clips, "interaction_variance": interaction}
    return Difference(0.0, -1.0, 1.0, p=0.5, **parts)


def test_a_table_says_what_it_could_find_after_its_correction():
    """The design that real scores had: 28 differences, 4 runs that vary by 0.0028, clips by 0.0033."""
    rows = [make(0.0028**2 / 4, 0.0033**2)] * 28
    found = detectable_difference(Design(0.0028**2 / 4, 0.0033**2, 0.0, 4, 1500), 0.05 / 28)
    text = describe_power(rows, 4, 1500)
    assert text.startswith(
        f"With 4 runs and 1,500 val clips, after the correction for 28 differences, a true difference in rho of "
        f"{found:.4f} is found in 80% of studies, a smaller one in fewer. For one of 0.005 it would take "
    )
    assert text.endswith(
        "no number of runs is enough at these clips, no number of clips with these runs. These numbers "
        "rest on how 4 runs vary."
    )
    runs, clips = (
        int(text.split("it would take ")[1].split(between)[place].split()[0].replace(",", ""))
        for between, place in ((" runs", 0), ("about ", 1))
    )
    both = Design(0.0028**2 / 4, 0.0033**2, 0.0, 4, 1500)
    enough = needed_clips(0.005, both.resize(runs=runs), 0.05 / 28)
    assert 0.9 * clips < enough <= clips
    assert needed_clips(0.005, both.resize(runs=2 * runs), 0.05 / 28) > 0.8 * enough, "more runs save few clips"
    assert needed_clips(0.005, both.resize(runs=runs // 2), 0.05 / 28) > 1.2 * enough, "fewer runs need many more"


def test_runs_or_clips_that_would_do_are_named():
    design = Design(0.003**2, 0.0008**2, 0.0, 4, 1500)
    runs = needed_runs(0.005, design)
    assert (
        f"it would take {runs:,} runs at these clips; no number of clips with these runs is enough"
        in describe_power([make(0.003**2, 0.0008**2)], 4, 1500)
    )
    over_clips = Design(0.0, 0.004**2, 0.0, 4, 1500)
    clips = needed_clips(0.005, over_clips)
    text = describe_power([make(0.0, 0.004**2)], 4, 1500)
    assert "with one difference" in text
    assert "no number of runs is enough at these clips" in text
    rounded = int(text.split("about ")[1].split(" clips")[0].replace(",", ""))
    assert clips <= rounded <= clips + 100


def test_a_sharp_table_says_that_0_005_is_within_reach():
    assert describe_power([make(1e-8, 1e-8)], 4, 1500).endswith("One of 0.005 is within its reach.")


def test_runs_that_vary_too_much_find_nothing_that_there_could_be():
    text = describe_power([make(0.05**2, 0.017**2)] * 28, 3, 300)
    assert "no difference in rho that there could be is found in 80% of studies" in text


def test_without_an_interval_it_says_why():
    few = Difference(0.5, reason="2 clips: no interval under 20")
    assert describe_power([few, few], 4, 2) == "No star: 2 clips: no interval under 20."
    assert describe_power([], 4, 2) == ""
    assert describe_power([make(1e-6, 1e-6)], 2, 1500).startswith("No star: 2 runs say too little")
