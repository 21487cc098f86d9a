"""Real tables that Python packages ship, for benchmarks/tabular.py.

scikit-learn's own are always there. `pip install statsmodels vaderSentiment` and `pip install --no-deps ISLP` add
theirs; the texts that 20 people rated stand in VADER's source package alone:

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
"""

from __future__ import annotations

import csv
import html
import tarfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from tabular_table import Table, make_columns, make_vector


class MissingPackageError(Exception):
    """A package that ships a table is not installed; its text says what to do."""


def to_unit(target: np.ndarray) -> np.ndarray:
    """Map a target to [0, 1] by its smallest and largest value."""
    return (target - target.min()) / np.ptp(target)


def load_diabetes() -> Table:
    rows, target = datasets.load_diabetes(return_X_y=True)
    return Table(rows, to_unit(target), make_columns(10), "scikit-learn: progress of 442 patients")


def load_column(load: Callable[..., Any], column: int, source: str) -> Table:
    """One measured column of a table, from the others."""
    rows = np.asarray(load(return_X_y=True)[0], np.float64)
    rest = np.delete(rows, column, axis=1)
    return Table(rest, to_unit(rows[:, column]), make_columns(rest.shape[1]), source)


def load_friedman(make: Callable[..., tuple[np.ndarray, np.ndarray]], noise: float, source: str) -> Table:
    rows, target = make(1000, noise=noise, random_state=0)
    return Table(rows, to_unit(target), make_columns(rows.shape[1]), source)


def load_lexicon(noise: float) -> Table:
    """Words of VADER's lexicon, letters' n-grams as 300 numbers, and how pleasant people find them."""
    lines = (_find_package("vaderSentiment") / "vader_lexicon.txt").read_text("utf-8").splitlines()
    entries = [(word, float(mean)) for word, mean, *_ in (line.split("\t") for line in lines) if word.isalpha()]
    # Inflected forms of a word would stand in train and val alike: one a stem of five letters.
    by_stem = {word[:5]: (word, mean) for word, mean in sorted(entries, reverse=True)}
    words, means = zip(*by_stem.values(), strict=True)
    rows = _embed(words, TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=3))
    scores = np.clip((np.array(means) + 4) / 8 + np.random.default_rng(0).normal(0, noise, len(means)), 0, 1)
    return Table(rows, scores, make_vector(rows.shape[1]), f"VADER: pleasantness of words, noise {noise:g} added")


def load_texts(archive: Path | None, name: str, source: str, most: int | None = None) -> Table:
    """Sentences as TF-IDF and SVD to 300 numbers, and the mean of 20 people's ratings of each."""
    if archive is None:
        raise MissingPackageError("give --texts: pip download --no-deps --no-binary :all: vaderSentiment==3.3.2")
    lines = [line.split("\t", 2) for line in read_ratings(archive, name) if line.count("\t") >= 2]
    chosen = np.random.default_rng(0).permutation(len(lines))[:most]
    ids, means, texts = zip(*(lines[k] for k in chosen), strict=True)
    rows = _embed([html.unescape(t) for t in texts], TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True))
    # Sentences of one review or article, 7_1 and 7_2, stay together.
    groups = np.unique([key.split("_")[0] for key in ids], return_inverse=True)[1] if "_" in ids[0] else None
    return Table(rows, (np.array(means, float) + 4) / 8, make_vector(300), source, groups=groups)


def read_ratings(archive: Path, name: str) -> list[str]:
    """Read the lines of one of VADER's files of rated sentences: an id, a mean rating and a sentence each."""
    with tarfile.open(archive) as outer:
        inner = next(m for m in outer.getnames() if m.endswith("hutto_ICWSM_2014.tar.gz"))
        content = outer.extractfile(inner)
        assert content is not None
        with tarfile.open(fileobj=BytesIO(content.read())) as texts:
            member = texts.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            assert member is not None
            return member.read().decode("utf-8", "replace").splitlines()


def _embed(texts: list[str] | tuple[str, ...], vectorizer: TfidfVectorizer) -> np.ndarray:
    vectors = vectorizer.fit_transform(texts)
    return TruncatedSVD(min(300, vectors.shape[1] - 1), random_state=0).fit_transform(vectors)


def load_statistics(name: str, target: str, left_out: tuple[str, ...], source: str) -> Table:
    """A table of statsmodels: one column from the others."""
    entries = _read_csv(_find_package("statsmodels") / "datasets" / name / f"{name}.csv")
    return _make_table(entries, target, (), left_out, source)


def load_schools() -> Table:
    """The share of each district's pupils who pass, PR50M of MATHTOT, from what is known of it."""
    entries = _read_csv(_find_package("statsmodels") / "datasets" / "star98" / "star98.csv")
    for entry in entries:
        entry["share"] = str(float(entry["PR50M"]) / float(entry["MATHTOT"]))
    return _make_table(entries, "share", (), ("PR50M", "MATHTOT"), "statsmodels: share of pupils who pass")


def load_learning(name: str, target: str, kinds: tuple[str, ...], left_out: tuple[str, ...], source: str) -> Table:
    """A table of ISLP: one column from the others, those of kinds one-hot."""
    entries = _read_csv(_find_package("ISLP") / "data" / f"{name}.csv")
    return _make_table(entries, target, kinds, left_out, source)


def _read_csv(file: Path) -> list[dict[str, str]]:
    lines = file.read_text("utf-8-sig").replace("'", "").splitlines()
    return list(csv.DictReader(lines, delimiter="\t" if "\t" in lines[0] else ","))


def _make_table(
    entries: list[dict[str, str]], target: str, kinds: tuple[str, ...], left_out: tuple[str, ...], source: str
) -> Table:
    known = [entry for entry in entries if entry[target] not in ("", "NA")]
    parts = []
    for name in (n for n in known[0] if n != target and n not in left_out):
        values = np.array([entry[name] for entry in known])
        parts.append(_mark_kinds(values) if name in kinds else values.astype(float)[:, None])
    rows = np.concatenate(parts, axis=1)
    scores = to_unit(np.array([float(entry[target]) for entry in known]))
    return Table(rows, scores, make_columns(rows.shape[1]), source)


def _mark_kinds(values: np.ndarray) -> np.ndarray:
    """One column a kind; of two kinds one column says it all."""
    found = np.unique(values)
    return (values[:, None] == found[1 if len(found) == 2 else 0 :]).astype(float)


def _find_package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(f"pip install {'--no-deps ISLP' if name == 'ISLP' else name}")
    return Path(spec.submodule_search_locations[0])


def list_shipped(texts: Path | None) -> dict[str, Callable[[], Table]]:
    """Name of each table to what loads it.

    Args:
        texts: VADER's source package; None: its tables raise `MissingPackageError`.
    """
    learning = {
        "bikes": ("Bikeshare", "bikers", ("mnth", "hr", "weathersit"), ("casual", "registered"), "hires in an hour"),
        "college": ("College", "Grad.Rate", ("Private",), (), "share of graduates"),
        "hitters": ("Hitters", "Salary", ("League", "Division", "NewLeague"), (), "salaries of players"),
        "wage": (
            "Wage",
            "wage",
            ("maritl", "race", "education", "region", "jobclass", "health", "health_ins"),
            ("logwage",),
            "wages of men",
        ),
    }
    statistics = {
        "fair": ("fair", "affairs", (), "survey, mostly 0"),
        "anes96": ("anes96", "selfLR", ("vote",), "survey, answers 1 to 7"),
    }
    rated: dict[str, tuple[str, str, int | None]] = {
        "tweets": ("tweets", "sentences rated by 20", None),
        "reviews": ("amazonReviewSnippets", "sentences of reviews rated by 20", None),
        "editorials": ("nytEditorialSnippets", "sentences of articles rated by 20", None),
        "films": ("movieReviewSnippets", "sentences of film reviews rated by 20", 8750),
    }
    return {
        "diabetes": load_diabetes,
        "wine": partial(load_column, datasets.load_wine, 0, "scikit-learn: alcohol of 178 wines"),
        "cancer": partial(load_column, datasets.load_breast_cancer, 8, "scikit-learn: symmetry of 569 tumours"),
        "digits": partial(load_column, datasets.load_digits, 36, "scikit-learn: a pixel from the others"),
        "iris": partial(load_column, datasets.load_iris, 1, "scikit-learn: sepal's width of 150 flowers"),
        "friedman 1": partial(load_friedman, datasets.make_friedman1, 2.0, "scikit-learn, noise 2"),
        "friedman 2": partial(load_friedman, datasets.make_friedman2, 200.0, "scikit-learn, noise 200"),
        "friedman 3": partial(load_friedman, datasets.make_friedman3, 0.2, "scikit-learn, noise 0.2"),
        "schools": load_schools,
        "lexicon": partial(load_lexicon, 0.0),
        "lexicon, noisy": partial(load_lexicon, 0.3),
        **{n: partial(load_statistics, a, b, c, f"statsmodels: {d}") for n, (a, b, c, d) in statistics.items()},
        **{n: partial(load_learning, a, b, c, d, f"ISLP: {e}") for n, (a, b, c, d, e) in learning.items()},
        **{n: partial(load_texts, texts, a, f"VADER: {b}", most=m) for n, (a, b, m) in rated.items()},
    }
