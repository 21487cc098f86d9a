"""Every subcommand by name: its line in the help, and the options that most people need of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Args:
        name: word after `m3ray`.
        group: heading that the help lists it under.
        line: what it does, in a line.
        options: name of the dataclass that its command line is made from, as `module:name`.
        common: options that its short help shows, in this order; those of a group with a dot.
        job: name of the function in m3ray.commands.jobs that carries it out; None: it is no job.
    """

    name: str
    group: str
    line: str
    options: str
    common: tuple[str, ...]
    job: str | None = None


_SCORE, _STUDY, _ROOT, _SHARE, _HELP = "score", "study", "one step at a time", "share", "look after it"
_OPTIONS = "m3ray.config.options"
_COMMANDS = (
    Command(
        "score",
        _SCORE,
        "score videos and images at once, without training and without Ray",
        "m3ray.commands.options:ScoreOptions",
        ("what", "bundle", "over_time", "by", "export_shots", "sort", "csv", "json", "allow_other_weights"),
    ),
    Command(
        "explain",
        _SCORE,
        "map which parts of videos and images add to their scores, and when",
        "m3ray.commands.options:ExplainCommandOptions",
        ("what", "bundle", "budget", "method", "out", "format", "json", "allow_other_weights"),
    ),
    Command(
        "compare",
        _SCORE,
        "tell which video or image is more memorable, and how sure that is",
        "m3ray.commands.options:CompareOptions",
        ("what", "bundle", "csv", "json", "allow_other_weights"),
    ),
    Command(
        "demo",
        _SCORE,
        "draw clips, run the whole study on them, and tell where to look",
        "m3ray.commands.options:DemoOptions",
        ("out", "limit"),
    ),
    Command(
        "predict",
        _SCORE,
        "score many new videos with a bundle, on Ray, into a root",
        f"{_OPTIONS}:PredictOptions",
        ("out", "root", "bundle", "dataset", "over_time", "explain", "limit", "max_rejects", "dry_run"),
        "predict",
    ),
    Command(
        "reproduce",
        _STUDY,
        "everything: tiers, tables, bundle, predictions, report",
        f"{_OPTIONS}:ReproduceOptions",
        ("out", "dataset", "root", "tiers", "tier", "weights", "tables", "runs", "limit", "compute.device", "dry_run"),
        "reproduce",
    ),
    Command(
        "extract",
        _ROOT,
        "list the clips, decode each once, compute the tiers that it lacks",
        f"{_OPTIONS}:ExtractOptions",
        ("out", "dataset", "root", "tiers", "tier", "weights", "limit", "compute.device", "retry_rejects", "dry_run"),
        "extract",
    ),
    Command(
        "train",
        _ROOT,
        "train one model, and save a bundle",
        f"{_OPTIONS}:TrainOptions",
        ("out", "dataset", "root", "tiers", "tier", "loss", "epochs", "runs", "model", "name", "dry_run"),
        "train",
    ),
    Command(
        "ablate",
        _ROOT,
        "train the study's variants, make tables and report",
        f"{_OPTIONS}:AblateOptions",
        ("out", "tables", "tiers", "runs", "epochs", "folds", "fit", "target", "dry_run"),
        "ablate",
    ),
    Command(
        "tune",
        _ROOT,
        "search hyper-parameters",
        f"{_OPTIONS}:TuneOptions",
        ("out", "trials", "metric", "tiers", "runs", "epochs", "name", "target", "dry_run"),
        "tune",
    ),
    Command(
        "evaluate",
        _ROOT,
        "evaluate bundles on data sets, their own and others",
        f"{_OPTIONS}:EvaluateOptions",
        ("out", "bundles", "roots", "compute.device", "dry_run"),
        "evaluate",
    ),
    Command(
        "report",
        _ROOT,
        "tables, figures and page of what a root holds",
        f"{_OPTIONS}:ReportOptions",
        ("out", "others", "price", "carbon", "dry_run"),
        "report",
    ),
    Command(
        "card",
        _SHARE,
        "write the model card of a bundle, and its citation",
        "m3ray.commands.options:CardOptions",
        ("bundle", "out", "licence", "author", "overwrite"),
    ),
    Command(
        "pack",
        _SHARE,
        "pack a bundle, or the results of a root, into a zip without clips",
        "m3ray.commands.options:PackOptions",
        ("what", "out", "frames", "features", "overwrite"),
    ),
    Command(
        "doctor",
        _HELP,
        "check this machine; name what is missing and the command that mends it",
        "m3ray.commands.doctor:DoctorOptions",
        ("json", "network"),
    ),
    Command(
        "unlock",
        _HELP,
        "tell which job holds a root, and remove a dead one's lock",
        "m3ray.config.unlock_options:UnlockOptions",
        ("out", "work", "force", "dry_run"),
        "unlock",
    ),
)
COMMANDS = {command.name: command for command in _COMMANDS}
