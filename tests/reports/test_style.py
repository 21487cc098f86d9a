"""Names as labels, and figures as files."""

import pandas as pd
from matplotlib import pyplot as plt

from m3ray.reports import figures
from m3ray.reports.style import house_style, label_text, render_image


def test_names_are_text_not_mathematics_nor_pages():
    assert label_text("cost $5$ a\nday") == r"cost \$5\$ a day"
    assert len(label_text("x" * 300)) == 40
    hostile = pd.DataFrame({"truth": [0.1, 0.5], "score": [0.2, 0.4]})
    with house_style():
        svg = render_image(figures.plot_distributions(hostile)[0], "svg")
    assert svg.count(b"<text") > 4, "vector text, not outlines"


def test_a_figure_is_the_same_file_each_time():
    frame = pd.DataFrame({"truth": [0.1, 0.5], "score": [0.2, 0.4]})
    for kind, start in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        files = []
        for _ in range(2):
            with house_style():
                files.append(render_image(figures.plot_distributions(frame)[0], kind))
        assert files[0] == files[1], "no date, no random id"
        assert files[0].startswith(start)


def test_the_house_style_ends_with_its_block():
    before = plt.rcParams["axes.grid"]
    try:
        with house_style():
            plt.figure()
            assert plt.rcParams["axes.grid"] is True
            raise InterruptedError
    except InterruptedError:
        pass
    assert plt.rcParams["axes.grid"] == before
    assert not plt.get_fignums(), "closed although the block failed"
