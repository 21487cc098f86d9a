"""The report: tables, figures and one self-contained page of what a root holds. Ray is not needed."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from m3ray.data.catalogue import read_catalogue
from m3ray.data.rooms import REJECTS, current_tiers, total_of_runs
from m3ray.data.store import Root
from m3ray.reports import figures
from m3ray.reports import tables as printed
from m3ray.reports.measures import measures_table
from m3ray.reports.parameters import parameters_table
from m3ray.reports.style import house_style, image

STUDY = ("study", "ablation")
UNTRAINED = "UNTRAINED weights: these numbers show that the pipeline works, not what it can do. "
_SHOWN_CLIPS = 8


@dataclass
class Shown:
    """A figure on the page."""

    number: int
    title: str
    caption: str
    alt: str
    source: str


@dataclass
class Page:
    """What the template is filled with."""

    facts: dict[str, str]
    tiers: list[dict[str, str]]
    rejects: list[dict[str, Any]]
    untrained: bool
    headline: dict[str, str] | None = None
    tables: list[dict[str, Any]] = field(default_factory=list)
    figures: list[Shown] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    note: str = printed.NOTE


def build_report(out: str) -> str:
    """Writes `report/` under a root and returns the address of its page.

    Raises:
        StudyError: the root has no catalogue.
    """
    root = Root(out)
    page = _what_ran(root)
    if root.exists(*STUDY, "trials.parquet"):
        _add_study(root, page)
    else:
        page.missing.append(
            "No study: the catalogue has no scores, or the study was not run. Give a table with columns uri and score "
            "(jobs/reproduce.py --dataset table --root clips.csv)."
        )
    _add_predictions(root, page)
    environment = Environment(loader=PackageLoader("m3ray.reports"), autoescape=True, undefined=StrictUndefined)
    html = environment.get_template("page.html").render(page=page)
    root.write_bytes(html.encode(), "report", "index.html")
    address = root.display("report", "index.html")
    print(f"report: {address}", flush=True)
    return address


def _what_ran(root: Root) -> Page:
    catalogue = read_catalogue(root)
    splits = Counter(catalogue["split"].to_pylist())
    current = current_tiers(root)
    rejects = root.read_shards(*REJECTS)
    known = set(catalogue["clip_id"].to_pylist())
    rejected = [row for row in (rejects.to_pylist() if rejects is not None else []) if row["clip_id"] in known]
    scored = catalogue.num_rows - catalogue["score"].null_count
    facts = {
        "Clips": f"{catalogue.num_rows} ({', '.join(f'{n} {split}' for split, n in sorted(splits.items()))})",
        "With a score": str(scored),
        "Rejected": str(len(rejected)),
        **_versions(root),
    }
    tiers = [_tier_row(name, entry) for name, entry in current.items() if name != "facts"]
    untrained = any(entry.get("untrained") for entry in current.values())
    return Page(facts, tiers, _reasons(rejected), untrained)


def _versions(root: Root) -> dict[str, str]:
    runs = [name for name in root.names("runs") if root.exists("runs", name, "config.json")]
    if not runs:
        return {}
    used = root.read_json("runs", runs[-1], "config.json")["versions"]
    totals = total_of_runs(root)
    minutes = totals["wall_seconds"] / 60
    spent = f"{totals['runs']:.0f} runs, {totals['clips_done']:.0f} clips computed, {minutes:.1f} minutes"
    return {"Over all runs": spent, "Made with": ", ".join(f"{name} {number}" for name, number in used.items())}


def _tier_row(name: str, entry: dict[str, Any]) -> dict[str, str]:
    weights = entry["identity"].get("weights", {})
    if entry["untrained"]:
        words = "untrained"
    else:
        words = f"SHA-256 {weights['sha256'][:16]}…" if weights.get("sha256") else "none needed"
    return {"name": name, "fingerprint": entry["folder"].rsplit("-", 1)[-1], "weights": words}


def _reasons(rejected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counts = Counter((row["stage"], row["error"]) for row in rejected)
    examples = {(row["stage"], row["error"]): row for row in reversed(rejected)}
    return [
        {
            "count": n,
            "stage": key[0],
            "error": key[1],
            "clip": examples[key]["clip_id"],
            "why": examples[key]["message"],
        }
        for key, n in counts.most_common(12)
    ]


def _add_study(root: Root, page: Page) -> None:
    trials = root.read_table(*STUDY, "trials.parquet").to_pandas()
    runs = root.read_table(*STUDY, "runs.parquet").to_pandas()
    names: dict[str, Any] = root.read_json(*STUDY, "tables.json")
    warning = UNTRAINED if page.untrained else ""
    main = names["measures"]["full"]
    config = root.read_json(*STUDY, "config.json")
    full = next(v for v in config["variants"] if v["name"] == main)
    for table in (*_tables(trials, names), parameters_table(full, config["tiers"])):
        _write_table(root, table, warning)
        page.tables.append(_shown_table(table))
    page.headline = _headline(trials.set_index("variant").loc[main], main)
    predictions = root.read_table(*STUDY, "predictions.parquet").to_pandas()
    drawn = runs[runs["variant"].isin(names["3"])] if "3" in names else runs
    with house_style():
        _add_curves(root, page, drawn)
        _add_distributions(root, page, predictions[predictions["variant"] == main], main)


def _tables(trials: pd.DataFrame, names: dict[str, Any]) -> Iterator[printed.Table]:
    """The tables asked for."""
    for number in sorted(name for name in names if name.isdigit()):
        if number == "4":
            table = measures_table(trials, names["measures"])
        else:
            table = printed.study_table(int(number), trials, names[number])
        if len(table.frame):
            yield table


def _headline(row: pd.Series, name: str) -> dict[str, str]:
    deviation = "" if pd.isna(row["spearman_std"]) else f" ± {row['spearman_std']:.4f}"
    return {
        "name": name,
        "rho": "undefined" if pd.isna(row["spearman"]) else f"{row['spearman']:.4f}{deviation}",
        "mse": "undefined" if pd.isna(row["mse"]) else f"{row['mse']:.5f}",
        "runs": f"{row['runs']}",
        "test": "" if pd.isna(row["test_spearman"]) else f"{row['test_spearman']:.4f}",
        "features": f"{row['features']:,}",
        "parameters": f"{row['parameters']:,}",
        "best": "undefined"
        if pd.isna(row["best_spearman"])
        else f"{row['best_spearman']:.4f}, epoch {row['best_epoch']}",
    }


def _write_table(root: Root, table: printed.Table, warning: str) -> None:
    folder = ("report", "tables")
    root.write_bytes(printed.markdown(table, warning).encode(), *folder, f"table{table.number}.md")
    root.write_bytes(printed.latex(table, warning).encode(), *folder, f"table{table.number}.tex")
    root.write_bytes(table.values.to_csv(index=False).encode(), *folder, f"table{table.number}.csv")


def _shown_table(table: printed.Table) -> dict[str, Any]:
    rows = []
    for position, row in enumerate(table.frame.to_dict("records")):
        cells = [{"text": value, "mark": _mark(table, str(column), position)} for column, value in row.items()]
        rows.append(cells)
    return {"number": table.number, "title": table.title, "columns": list(table.frame.columns), "rows": rows}


def _mark(table: printed.Table, column: str, row: int) -> str:
    if table.best.get(column) == row:
        return "best"
    return "second" if table.second.get(column) == row else ""


def _add_curves(root: Root, page: Page, runs: pd.DataFrame) -> None:
    figure, data = figures.validation_curves(runs)
    single = runs["run"].nunique() == 1
    caption = (
        "Validation Spearman by epoch: mean over runs"
        + (" (one run: no band)" if single else ", band of one standard deviation")
        + "; a dot marks each variant's best epoch. Look for the tiers whose removal pulls the line down most."
    )
    alt = f"Line chart of validation rank correlation by epoch for {runs['variant'].nunique()} variants"
    page.figures.append(_save(root, figure, data, 2, "Validation curves", caption, alt))


def _add_distributions(root: Root, page: Page, predictions: pd.DataFrame, main: str) -> None:
    figure, data = figures.distributions(predictions)
    caption = (
        f"Truth and prediction of {main} on the {len(predictions)} val clips: distributions, and scores by rank. "
        "A flatter prediction line means a model that dares less than the truth varies."
    )
    alt = "Histograms and rank plots of true and predicted memorability"
    page.figures.append(_save(root, figure, data, 7, "Truth and prediction", caption, alt))


def _save(root: Root, figure: Any, data: pd.DataFrame, number: int, title: str, caption: str, alt: str) -> Shown:
    folder = ("report", "figures")
    png = image(figure, "png")
    root.write_bytes(png, *folder, f"figure{number}.png")
    root.write_bytes(image(figure, "svg"), *folder, f"figure{number}.svg")
    root.write_bytes(data.to_csv(index=False).encode(), *folder, f"figure{number}.csv")
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return Shown(number, title, caption, alt, source)


def _add_predictions(root: Root, page: Page) -> None:
    if not root.exists("predictions.parquet"):
        page.missing.append("No predictions: fit a bundle (jobs/train.py), then run jobs/predict.py.")
        return
    frame = root.read_table("predictions.parquet").to_pandas().sort_values("score", ascending=False)
    shares = [name for name in frame.columns if name.startswith("share_")]
    ends = pd.concat([frame.head(_SHOWN_CLIPS), frame.tail(_SHOWN_CLIPS)]).drop_duplicates("clip_id")
    page.clips = [
        {
            "id": row["clip_id"],
            "score": f"{row['score']:.3f}",
            "interval": f"{row['low']:.2f} to {row['high']:.2f}",
            "shares": ", ".join(f"{name.removeprefix('share_')} {row[name]:+.3f}" for name in shares),
        }
        for row in ends.to_dict("records")
    ]
