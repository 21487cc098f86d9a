"""The model card of a pretrained scorer: what its authors tell, and what was not measured here."""

from __future__ import annotations

from m3ray.scoring.card.data_section import define_target
from m3ray.scoring.card.markdown import join_paragraphs, make_table
from m3ray.scoring.card.sections import describe_loading
from m3ray.scoring.pretrained_bundle import PretrainedBundle


def write_scorer_sections(bundle: PretrainedBundle) -> str:
    """Write the card of a pretrained scorer below its head.

    Args:
        bundle: the scorer as a bundle.
    Returns:
        Markdown.
    """
    facts, weights = bundle.facts, bundle.metadata.sources.get(bundle.name, {})
    package = f"`{facts.package}` {facts.version}" if facts.package else facts.url or "a file of the user's"
    rows = {
        "trained on": facts.trained_on,
        "publication": facts.source,
        "weights": f"{package}, SHA-256 `{weights.get('sha256') or 'unknown'}`",
        "terms": facts.licence,
    }
    bound = "**Noncommercial use only.**" if "noncommercial" in facts.licence else ""
    return (
        join_paragraphs(
            [
                f"# {facts.title}: how memorable an image is",
                f"> Trained by others, and used by m3ray as it is. {bound}".rstrip(),
                f"It predicts {define_target(facts.predicts)}.",
                "A video's score is the mean over about one frame a second.",
                "## Model details",
                make_table(("what", "is"), rows.items()),
                "## Uses",
                "Meant for: ranking images and frames by how well viewers will recognise them.\n\n"
                "Not meant for: judging people, or single decisions that nobody checks.",
                "## Limits",
                _describe_limits(bundle.name),
                "## How to use it",
                f"```bash\n{facts.install_command}\n```",
                describe_loading(bundle.name).replace("  # its folder or zip", ""),
                "## Citation",
                f"{facts.source}. `CITATION.cff` beside this card has it in the Citation File Format.",
            ]
        )
        + "\n"
    )


def _describe_limits(name: str) -> str:
    lines = (
        "It sees images alone: no motion, no sound, no order of frames. For videos it was not trained.",
        "m3ray has not calibrated it: scores have no intervals, and nothing says whether an image is unlike those that "
        "it was trained on.",
        "How good it is, is in its publication; m3ray has measured nothing that would stand here. On data of your own, "
        f"`--baselines {name}` puts it beside your models.",
        "The energy of its training is unknown.",
    )
    return "\n".join(f"- {line}" for line in lines)
