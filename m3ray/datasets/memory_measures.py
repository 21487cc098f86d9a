"""What viewers did, made whole: counts checked, rates and d' derived, a score where only counts are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from m3ray.datasets.memory_columns import MAX_COUNT
from m3ray.datasets.recognition import CLIPPED, corrected_score, d_prime, rate
from m3ray.errors import SchemaError
from m3ray.schema import MEMORY

_FAR = 0.1  # a score this far from hits / responses is not just that share, rounded
_ROUNDED = 0.011  # two decimals of a rate


@dataclass
class _Columns:
    """The columns of `MEMORY` as numbers, NaN where unknown; derived ones are added."""

    ids: pa.ChunkedArray
    values: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values.get(name, np.full(len(self.ids), np.nan))

    def fill(self, name: str, derived: np.ndarray) -> bool:
        """Take derived values where none are given; whether there are any."""
        given = self[name]
        is_new = np.isnan(given) & ~np.isnan(derived)
        if is_new.any():
            self.values[name] = np.where(is_new, derived, given)
        return bool(is_new.any())


def complete_memory(clips: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Check what a data set tells of its viewers, derive what follows from it, and say both.

    Where no clip has a score, but viewers' hits are known, the score is the hit rate.

    Args:
        clips: the catalogue's columns, and those of `m3ray.schema.MEMORY` that the data set tells.
    Returns:
        The clips with further columns of `MEMORY`, null where nothing is known of a clip; lines for the user.
    Raises:
        SchemaError: If more viewers recognised a clip than saw it; the message names the clip.
    """
    present = [name for name in MEMORY.names if name in clips.column_names]
    if not present:
        return clips, ()
    columns = _Columns(clips["clip_id"], {name: _as_floats(clips[name], name) for name in present})
    _check_counts(columns, "hits", "responses")
    _check_counts(columns, "false_alarms", "false_alarm_responses")
    notes = [*_note_unequal_rates(columns), *_note_derived(columns)]
    clips, score_notes = _complete_scores(clips, columns)
    return _put_back(clips, columns), (*_summarise_responses(columns), *notes, *score_notes)


def _as_floats(column: pa.ChunkedArray, name: str) -> np.ndarray:
    try:
        return column.cast(pa.float64(), safe=False).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"{name} is a column of {column.type}, expected numbers: rename it if it is your own"
        ) from error


def _check_counts(columns: _Columns, part: str, whole: str) -> None:
    counts, totals = columns[part], columns[whole]
    wrong = np.flatnonzero((counts < 0) | (totals < 0) | (counts > totals))
    if len(wrong):
        row = int(wrong[0])
        raise SchemaError(
            f"clip {columns.ids[row].as_py()}: {part} {counts[row]:g}, {whole} {totals[row]:g}; expected 0 or more, "
            f"and no more {part} than {whole}: {whole} are all viewers who were asked"
        )
    huge = np.flatnonzero((counts > MAX_COUNT) | (totals > MAX_COUNT))
    if len(huge):
        row = int(huge[0])
        raise SchemaError(
            f"clip {columns.ids[row].as_py()}: {part} {counts[row]:g}, {whole} {totals[row]:g}; expected at most "
            f"{MAX_COUNT:,} viewers"
        )


def _note_unequal_rates(columns: _Columns) -> list[str]:
    notes = []
    for name, part, whole in _RATES:
        derived = rate(columns[part], columns[whole])
        unequal = np.flatnonzero(np.abs(columns[name] - derived) > _ROUNDED)
        if len(unequal):
            clip, given, other = columns.ids[int(unequal[0])].as_py(), columns[name][unequal[0]], derived[unequal[0]]
            notes.append(
                f"{name} is another than {part} / {whole} for {len(unequal)} clips ({clip}: {given:.3f}, {other:.3f}); "
                "it stays as given"
            )
    return notes


_RATES = (("hit_rate", "hits", "responses"), ("false_alarm_rate", "false_alarms", "false_alarm_responses"))


def _note_derived(columns: _Columns) -> list[str]:
    """Derive what counts and rates tell, and say what was derived."""
    derived = [name for name, part, whole in _RATES if columns.fill(name, rate(columns[part], columns[whole]))]
    rates = columns["hit_rate"], columns["false_alarm_rate"]
    derived += ["corrected"] if columns.fill("corrected", corrected_score(*rates)) else []
    responses = columns["responses"], columns["false_alarm_responses"]
    if not columns.fill("d_prime", d_prime(*rates, *responses)):
        return [f"derived: {', '.join(derived)}"] if derived else []
    without = int((~np.isnan(rates[0] + rates[1]) & ~((responses[0] > 0) & (responses[1] > 0))).sum())
    how = f"; rates of {without} clips without counts are moved into {CLIPPED} for d_prime" if without else ""
    return [f"derived: {', '.join([*derived, 'd_prime'])}{how}"]


def _complete_scores(clips: pa.Table, columns: _Columns) -> tuple[pa.Table, list[str]]:
    rates = columns["hit_rate"]
    known = ~np.isnan(rates)
    scores = clips["score"].cast(pa.float64()).to_numpy()
    if not known.any():
        return clips, []
    if np.isnan(scores).all():
        column = pa.array(rates, pa.float64(), from_pandas=True)
        position = clips.column_names.index("score")
        return clips.set_column(position, "score", column), [f"score is the hit rate: {int(known.sum())} clips"]
    far = np.flatnonzero(np.abs(scores - rates) > _FAR)
    if not len(far):
        return clips, []
    clip, score, other = columns.ids[int(far[0])].as_py(), scores[far[0]], rates[far[0]]
    return clips, [
        f"the scores of {len(far)} clips lie further than {_FAR} from their hit rate ({clip}: {score:.3f}, "
        f"{other:.3f}), as corrected ones do; they stay as given"
    ]


def _put_back(clips: pa.Table, columns: _Columns) -> pa.Table:
    for field in MEMORY:
        if field.name in columns.values:
            column = pa.array(columns[field.name], pa.float64(), from_pandas=True).cast(field.type)
            position = clips.column_names.index(field.name) if field.name in clips.column_names else clips.num_columns
            clips = clips.remove_column(position) if position < clips.num_columns else clips
            clips = clips.add_column(position, field, column)
    return clips


def _summarise_responses(columns: _Columns) -> list[str]:
    known = columns["responses"][~np.isnan(columns["responses"])]
    if not len(known):
        return []
    share = "" if len(known) == len(columns.ids) else f" of {len(known)} of {len(columns.ids)} clips"
    return [f"responses{share}: {known.min():g} to {known.max():g} viewers a clip, median {np.median(known):g}"]
