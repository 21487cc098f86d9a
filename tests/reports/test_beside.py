"""The page of several roots: what it holds, and what it leaves alone."""

import shutil

import pytest
import tyro
from made_reports import HOSTILE, make_small_root

from m3ray.config.options import ReportOptions
from m3ray.errors import ConfigError, StudyError
from m3ray.reports.beside import build_report_beside
from m3ray.reports.page import build_report
from m3ray.request.checks import check_request
from m3ray.storage.root import Root


def read_files(root):
    folder = root.path("report")
    return {name: root.read_bytes("report", *name.split("/")) for name in list_files(folder)}


def list_files(folder):
    from pathlib import Path

    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_figures_headlines_and_tables_of_both_roots(root, tmp_path, capsys):
    build_report(root.uri)
    before = read_files(root)
    other = make_small_root(tmp_path / "other")
    address = build_report_beside([root.uri, other.uri])
    assert address == root.display("report", "beside.html")
    html = root.read_bytes("report", "beside.html").decode()
    places = [html.index(f"Figure {number}.") for number in (2, 6, 7)]
    assert places == sorted(places), "in the paper's order"
    assert html.index('<h2 id="set1">root</h2>') < html.index('<h2 id="set2">other</h2>')
    assert html.count('<ul class="headline">') == 2
    assert html.count("Table 3. ") == 2
    assert '<a href="index.html">Its own report</a>' in html
    made = root.list_sizes("report", "figures")
    for number in (2, 6, 7):
        assert {f"beside_figure{number}.{kind}" for kind in ("png", "svg", "csv")} <= set(made)
    assert b"there is no raw tier" in root.read_bytes("report", "figures", "beside_figure6.svg")
    after = read_files(root)
    assert {name: after[name] for name in before} == before, "the root's own report stays"
    assert not other.exists("report"), "and the other root is read alone"
    assert f"{address}: root, other; in the report of the first root" in capsys.readouterr().out


def test_three_roots_and_hostile_text(root, tmp_path):
    roots = [make_small_root(tmp_path / name) for name in ("a", "b")]
    build_report_beside([part.uri for part in (*roots, root)])
    html = roots[0].read_bytes("report", "beside.html").decode()
    assert html.count('<ul class="headline">') == 3
    assert "<script>alert" not in html
    assert HOSTILE not in html
    assert "http://" not in html
    assert "https://" not in html


def test_figure_6_of_the_other_root_is_drawn_beside(root, tmp_path):
    shutil.copytree(root.path(), tmp_path / "copy")
    build_report_beside([root.uri, str(tmp_path / "copy")])
    lines = root.read_bytes("report", "figures", "beside_figure6.csv").decode().splitlines()
    assert lines[0].replace('"', "") == "dataset,x,y,n,r,p"
    assert {line.partition(",")[0].strip('"') for line in lines[1:]} == {"root", "copy"}


@pytest.mark.parametrize(
    "arguments",
    [["--out", "A", "B", "C"], ["--dry-run", "--out", "A", "B", "C"], ["--out", "A", "B", "C", "--dry-run"]],
)
def test_out_takes_several_values(arguments):
    options = tyro.cli(ReportOptions, args=arguments)
    assert (options.out, options.others) == ("A", ("B", "C"))


def test_one_root_is_as_it_was():
    assert tyro.cli(ReportOptions, args=["--out", "A", "--price", "CPU=1"]) == ReportOptions(out="A", price=("CPU=1",))


def test_a_root_given_twice_or_missing_is_told_before_anything_is_written(tmp_path):
    root = make_small_root(tmp_path / "a")
    with pytest.raises(ConfigError, match="given twice"):
        check_request(ReportOptions(out=root.uri, others=(f"{root.uri}/../a",)))
    with pytest.raises(StudyError, match=r"missing/catalogue\.parquet does not exist"):
        check_request(ReportOptions(out=root.uri, others=(str(tmp_path / "missing"),)))
    with pytest.raises(ConfigError, match="--out is empty"):
        check_request(ReportOptions(out=root.uri, others=("",)))
    assert not Root(root.uri).exists("report")
    assert not (tmp_path / "missing").exists()


def test_a_figure_of_which_no_root_has_a_part_is_a_line_and_no_empty_picture(tmp_path):
    """Figure 6 was 500 pixels of nothing where no root had the raw tier."""
    roots = [make_small_root(tmp_path / name) for name in ("a", "b")]
    build_report_beside([part.uri for part in roots])
    html = roots[0].read_bytes("report", "beside.html").decode()
    assert "Figure 6. Raw features and memorability is left out: a: there is no raw tier" in html
    assert not roots[0].exists("report", "figures", "beside_figure6.png")
    assert roots[0].exists("report", "figures", "beside_figure2.png")
