"""`m3ray demo`: the whole study on drawn clips, and where to look."""

from __future__ import annotations

from m3ray.commands.options import DemoOptions


def run(options: DemoOptions) -> int:
    """Run the demo as `m3ray reproduce` without options does.

    Args:
        options: root and number of clips.
    Returns:
        The exit status of `reproduce`.
    """
    from m3ray.cli import main
    from m3ray.commands.jobs import reproduce
    from m3ray.config.options import ReproduceOptions

    words = ["--out", options.out, *([] if options.limit is None else ["--limit", str(options.limit)])]
    status = main(ReproduceOptions, reproduce, "The demo.", words, "m3ray demo")
    if status == 0:
        print(describe_results(options.out), flush=True)
    return status


def describe_results(out: str) -> str:
    """Say where to look when the demo has ended.

    Args:
        out: its root.
    Returns:
        Lines for a terminal.
    """
    root = out.rstrip("/")
    rows = {
        f"{root}/report/index.html": "open this first: tables, figures, the most and the least memorable clips",
        f"{root}/report/tables/": "the tables as Markdown, LaTeX and CSV",
        f"{root}/models/m3s/": "the bundle; m3ray score --bundle scores new videos with it",
        f"{root}/features/": "the tiers as Parquet",
    }
    width = max(map(len, rows))
    return "\n".join(["where to look:", *(f"  {path:<{width}}  {text}" for path, text in rows.items())])
