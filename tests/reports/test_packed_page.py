"""The page without frames of clips."""

import base64

from made_reports import build_html, make_small_root

from m3ray.reports.packed_page import count_pictures, remove_pictures, shows_frames

FIGURE, FRAME = b"\x89PNG figure" * 9, b"\xff\xd8\xff frame" * 9


def embed(data, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


PAGE = (
    f'<link rel="icon" href="data:,"><img src="{embed(FIGURE)}" alt="Figure 2"><img src="{embed(FRAME, "image/jpeg")}" '
    f'alt="First frame of a"><img src="{embed(FRAME, "image/webp")}"><p>a / b</p>'
)


def test_figures_stay_and_all_other_pictures_go():
    page = remove_pictures(PAGE, [FIGURE])
    assert embed(FIGURE) in page
    assert base64.b64encode(FRAME).decode() not in page
    assert page.count("data:image/svg+xml") == 2
    assert page.startswith('<link rel="icon" href="data:,">')
    assert "<p>a / b</p>" in page
    assert remove_pictures(page, [FIGURE]) == page


def test_pictures_are_counted():
    assert count_pictures(PAGE, [FIGURE]) == 2
    assert count_pictures(PAGE, []) == 3, "a picture that is no known figure may be a frame"
    assert count_pictures(remove_pictures(PAGE, [FIGURE]), [FIGURE]) == 0


def test_figure_5_shows_frames():
    assert [
        name for name in ("figure5.png", "figure5_event.svg", "figure4.png", "forest.csv") if shows_frames(name)
    ] == [
        "figure5.png",
        "figure5_event.svg",
    ]


def test_the_figures_of_a_report_are_known_by_their_files(tmp_path):
    root = make_small_root(tmp_path)
    page = build_html(root)
    names = [name for name in root.list_names("report", "figures", suffix=".png") if not shows_frames(name)]
    figures = [root.read_bytes("report", "figures", name) for name in names]
    assert page.count("data:image/png") == len(figures) > 1
    assert count_pictures(page, figures) == 0, "its clips cannot be read, so that it has no frame"
    assert remove_pictures(page, figures) == page
