"""Settings to JSON and back; the keys and hashes are those of earlier releases."""

from dataclasses import dataclass, field

import pytest

from m3ray.config.compute import ComputeConfig, LimitsConfig, SlidingWindowConfig
from m3ray.config.datasets import ReadConfig, StorageConfig
from m3ray.config.explain_options import ExplainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.serialization import added_setting, as_json, fingerprint, from_json, json_key
from m3ray.config.tiers import EventConfig, FinetunedConfig, SimilarityConfig, TierConfigs
from m3ray.config.training import TrainConfig
from m3ray.config.unlock_options import UnlockOptions


@dataclass(frozen=True)
class Inner:
    number: int = 1
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    renamed: int = field(default=3, metadata=json_key("old"))


CONFIGS = [
    ComputeConfig(actors=3, decoder="pyav"),
    LimitsConfig(crash_count=7, max_seconds=12.5),
    SlidingWindowConfig(window=2.0),
    ReadConfig(target="long", splits="s.csv"),
    StorageConfig(anonymous=("a", "b")),
    TierConfigs(similarity=SimilarityConfig(sources=("scene",), eps_scene=1.25), event=EventConfig(network="ir")),
    TrainConfig(hidden=(), loss="spearman"),
    FinetuneConfig(workers=2, refit_similarity=True),
    UnlockOptions(out="r", work="study"),
    ExplainConfig(method="gradient", budget=9, seeds=3),
    Outer(Inner(2, ("x", "y")), Inner(3), 4),
    Outer(),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_settings_come_back_from_their_json(config):
    assert from_json(type(config), as_json(config)) == config


def test_json_is_plain_values_with_keys_of_earlier_releases():
    assert as_json(Outer(Inner(2, ("x",)))) == {"inner": {"number": 2, "names": ["x"]}, "maybe": None, "old": 3}
    assert as_json({1: (Inner(), "a")}) == {"1": [{"number": 1, "names": []}, "a"]}
    assert as_json(LimitsConfig())["strikes"] == 3
    assert as_json(TierConfigs(finetuned=FinetunedConfig(size=64)))["tuned"]["size"] == 64


def test_a_renamed_setting_is_read_by_both_names():
    assert (
        from_json(LimitsConfig, {"strikes": 5})
        == from_json(LimitsConfig, {"crash_count": 5})
        == LimitsConfig(crash_count=5)
    )


def test_what_is_unknown_is_ignored_and_what_is_missing_is_the_default():
    assert from_json(Outer, {"gone": 1, "inner": {"number": 5}}) == Outer(Inner(5))


def test_fingerprints_are_those_of_earlier_releases():
    """Taken before fields were renamed: features and trials are found again by them."""
    assert fingerprint(TierConfigs()) == "4325b510bc"
    assert fingerprint(LimitsConfig()) == "3e55edf8b1"
    assert fingerprint("a", {"b": (1, 2)}) == "e593854b57"


def test_a_setting_that_came_later_changes_no_hash_until_it_is_used():
    @dataclass(frozen=True)
    class Later(Inner):
        kernel: str = field(default="gaussian", metadata=added_setting())
        widths: tuple[int, ...] = field(default_factory=lambda: (1,), metadata=added_setting())

    assert as_json(Later()) == as_json(Inner())
    assert fingerprint(Later()) == fingerprint(Inner())
    changed = Later(kernel="flat", widths=())
    assert as_json(changed) == {"number": 1, "names": [], "kernel": "flat", "widths": []}
    assert from_json(Later, as_json(changed)) == changed
    assert from_json(Later, as_json(Later())) == Later()


def test_a_fingerprint_changes_with_every_value_and_not_with_the_order_of_keys():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert len({fingerprint(TrainConfig(epochs=k)) for k in range(20)}) == 20
    assert fingerprint(1, 2) != fingerprint([1, 2])
