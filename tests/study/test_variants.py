"""The paper's tables as lists of variants."""

from dataclasses import replace

import numpy as np
import pytest

from m3ray.config import as_json, fingerprint, from_json
from m3ray.config.presets import finetune_small
from m3ray.errors import ConfigError
from m3ray.features.matrix import Block, Features
from m3ray.model import parameter_count
from m3ray.study.trial import select_columns
from m3ray.study.variants import (
    M3S,
    REGRESSOR_NAMES,
    Variant,
    describe_reported_epoch,
    find_plain_name,
    full_model,
    make_finetune_variant,
    measure_tiers,
    name_alone,
    name_with_measure,
    order_tiers,
    regressor_variants,
    study_variants,
    table1,
    table2,
    table3,
    table4,
)

RAW = ("brightness", "contrast", "blurriness", "mean_optical_flow", *(f"hog_{k}" for k in range(10)), "size_bytes")
# Widths on Memento10k: DBSCAN's one-hot has 852 columns there (the supplement, Table 4).
BLOCKS = (
    Block("raw", RAW, True),
    Block("scene", tuple(f"scene_{k}" for k in range(720)), False),
    Block("event", tuple(f"event_{k}" for k in range(2048)), False),
    Block("similarity", tuple(f"s_{k}" for k in range(852)), False),
)
REAL = Features((), np.empty((0, 3635), np.float32), BLOCKS)


def test_table_3_has_the_paper_s_features_and_parameters():
    """The supplement, Table 3: model, features, parameters (to three digits there)."""
    paper = {
        "M3-S": (3_635, 1.89e6),
        "M3": (2_783, 1.46e6),
        "M3-S without raw": (3_620, 1.89e6),
        "M3 without raw": (2_768, 1.45e6),
        "M3-S without scene": (2_915, 1.53e6),
        "M3 without scene": (2_063, 1.09e6),
        "M3-S without event": (1_587, 8.45e5),
        "M3 without event": (735, 4.09e5),
    }
    found = {v.name: len(select_columns(REAL, v)) for v in table3(M3S)}
    assert found == {name: features for name, (features, _) in paper.items()}
    for name, (features, parameters) in paper.items():
        assert parameter_count(features, (512, 64)) == pytest.approx(parameters, rel=5e-3), name


def test_table_1_has_the_paper_s_features():
    found = {v.name: len(select_columns(REAL, v)) for v in table1(M3S)}
    assert found == {
        "raw, all features": 15,
        "raw without blurriness": 14,
        "raw without brightness": 14,
        "raw without contrast": 14,
        "raw without size_bytes": 14,
        "raw without mean_optical_flow": 14,
        "raw without hog": 5,
    }
    assert all(v.training.hidden == (64,) for v in table1(M3S))


def test_table_2_has_the_paper_s_features():
    """The supplement, Table 2, its unfrozen row apart."""
    found = {v.name: len(select_columns(REAL, v)) for v in table2(M3S)}
    assert found == {
        "M3-S": 3635,
        "M3-S without brightness": 3634,
        "M3-S without contrast": 3634,
        "M3-S without blurriness": 3634,
        "M3-S without hog": 3625,
        "M3-S without size_bytes": 3634,
        "M3-S without mean_optical_flow": 3634,
    }


def test_table_4_has_each_measure_alone_and_within_m3_and_shares_m3_s():
    tiers = [*M3S, "similarity:kde", "similarity:cosine_mean"]
    rows = {v.name: v for v in table4(tiers)}
    assert list(rows) == [
        "similarity alone",
        "M3-S",
        "cosine_mean alone",
        "M3 + cosine_mean",
        "kde alone",
        "M3 + kde",
    ]
    assert rows["M3-S"] == table3(tiers)[0], "trained once"
    assert rows["kde alone"].training.epochs == 15  # the supplement, Table 4
    assert rows["M3 + kde"].tiers == ("raw", "scene", "event", "similarity:kde")
    assert rows["M3 + kde"].full == "M3"
    assert table3(tiers)[0].tiers == M3S, "other measures are no part of the full model"


def test_tables_adapt_to_the_tiers_there_are():
    assert [v.name for v in table3(["raw", "scene"])] == ["M3", "M3 without raw", "M3 without scene"]
    assert table1(["scene"]) == []
    assert [v.tiers for v in table3(["text"])] == [("text",)]
    with pytest.raises(ConfigError, match="--tables 9: choose from"):
        study_variants([9], M3S)
    assert study_variants([3], M3S, epochs=2)[3][0].training.epochs == 2


def test_the_kind_of_a_variant_does_not_hang_on_its_name():
    tiers = [*M3S, "alone without + tier", "similarity:kde"]
    tables = study_variants([1, 2, 3, 4], tiers)
    assert [v.kind for v in tables[1]] == ["full", *["without_feature"] * 6]
    assert [v.kind for v in tables[2]] == ["full", *["without_feature"] * 6]
    assert [v.kind for v in tables[3]] == ["full", *["without_tier"] * 9]
    assert [v.kind for v in tables[4]] == ["measure_alone", "full", "measure_alone", "with_measure"]
    finetuned = make_finetune_variant(full_model(tiers), finetune_small())
    assert (finetuned.name, finetuned.full, finetuned.kind) == ("M3-S, unfrozen", "M3-S", "finetuned")
    assert replace(finetuned, name="M3 + kde").kind == "finetuned"


def test_a_variant_survives_the_json_of_a_study():
    for variant in (table4([*M3S, "similarity:kde"])[3], make_finetune_variant(full_model(M3S), finetune_small())):
        values = as_json(variant)
        assert set(values) == {"name", "tiers", "without", "training", "full", "unfrozen"}, "keys of earlier studies"
        assert from_json(Variant, values) == variant


def test_fingerprints_are_those_of_earlier_releases():
    """Taken before fields were renamed: trials are found again by them."""
    assert fingerprint(full_model([*M3S, "text"])) == "a53bb94c41"
    finetuned = make_finetune_variant(full_model([*M3S, "text"]), finetune_small())
    assert fingerprint(finetuned) == "326b359e35"


def test_what_sees_no_network_cannot_be_finetuned():
    with pytest.raises(ConfigError, match="--unfrozen: M3 sees raw, text: no scene and no event to train"):
        make_finetune_variant(full_model(["raw", "text"]), finetune_small())


def test_measures_are_found_among_the_tiers():
    tiers = ["raw", "similarity", "similarity:kde", "similarity:unknown"]
    assert measure_tiers(tiers) == {"similarity": "similarity", "similarity:kde": "kde"}
    assert [v.name for v in table4(tiers)][2:] == [name_alone("kde"), name_with_measure("kde")]


def test_what_sees_none_of_the_paper_s_tiers_is_not_called_m3():
    """Named by its tiers, similarity last; with any of raw, scene and event it is M3 as ever."""
    assert full_model(["captions"]).name == "captions"
    assert full_model(["captions", "text"]).name == "captions + text"
    assert full_model(["text", "similarity"]).name == "text + similarity"
    assert full_model(["captions", "raw"]).name == "M3"
    assert full_model(["similarity", "event", "captions"]).name == "M3-S"
    assert [(v.name, v.full) for v in table3(["captions", "text"])] == [
        ("captions + text", None),
        ("captions + text without captions", "captions + text"),
        ("captions + text without text", "captions + text"),
    ]
    rows = table3(["text", "similarity"])
    assert [(v.name, v.full) for v in rows[:2]] == [("text + similarity", None), ("text", "text + similarity")]
    measured = table4(["text", "similarity", "similarity:kde"])
    assert [(v.name, v.full) for v in measured[2:]] == [("kde alone", None), ("text + kde", "text")]
    names = {v.name for v in [*rows, *measured]}
    assert find_plain_name(names) == "text"
    assert find_plain_name({v.name for v in table3(M3S)}) == "M3"
    assert find_plain_name(()) == "M3"


def test_captions_are_a_tier_of_table_3_like_any_other():
    names = [v.name for v in table3((*M3S, "captions"))]
    assert {"M3-S without captions", "M3 without captions"} <= set(names)


def test_selected_settings_take_the_place_of_others():
    before = full_model(M3S).training
    after = replace(before, hidden=(), epochs=7)
    rows = study_variants([3, 4], M3S, selected={before: after})
    assert {v.training for v in rows[3]} == {after}
    assert rows[4][0].training.epochs == 15, "a measure alone keeps its own"


def test_rows_may_be_trained_in_another_way():
    found = study_variants([1, 3, 4], M3S, epochs=3, train_as=lambda training: replace(training, report="best"))
    assert {v.training.report for rows in found.values() for v in rows} == {"best"}
    assert {v.training.epochs for rows in found.values() for v in rows} == {3}
    assert "optimistic" in describe_reported_epoch(found[3][0])["epoch"]
    assert describe_reported_epoch(full_model(M3S)) == {}


# What stands beside the full model


def test_regressors_see_what_the_full_model_sees_and_are_compared_with_it():
    full = full_model(("raw", "scene", "text"))
    ensemble, *others = regressor_variants(full)
    assert [v.name for v in (ensemble, *others)] == [
        "ensemble, all tiers",
        "ridge, all tiers",
        "svr, all tiers",
        "boosting, all tiers",
        "constant, all tiers",
    ]
    for variant in (ensemble, *others):
        assert (variant.tiers, variant.full, variant.kind) == (full.tiers, "M3", "regressor")
    assert [v.regressor for v in (ensemble, *others)] == ["ensemble", *REGRESSOR_NAMES]


def test_only_the_ensemble_depends_on_how_the_mlp_is_trained():
    full = full_model(("raw",))
    longer = replace(full, training=replace(full.training, epochs=99))
    pairs = list(zip(regressor_variants(full), regressor_variants(longer), strict=True))
    assert [fingerprint(a) == fingerprint(b) for a, b in pairs] == [False, True, True, True, True]


def test_an_mlp_has_the_hash_that_it_had_before_there_were_regressors():
    full = full_model(("raw",))
    assert "regressor" not in as_json(full)
    ridge = regressor_variants(full)[1]
    assert from_json(Variant, as_json(ridge)) == ridge


def test_every_study_on_a_root_has_tiers_in_one_order():
    held = ["raw", "text", "sound", "similarity", "similarity:kde"]
    assert order_tiers(("text", "similarity", "raw"), held) == ("raw", "similarity", "text")
    assert order_tiers(("sound", "text"), held) == order_tiers(("text", "sound"), held) == ("text", "sound")
    assert order_tiers(held, held)[:4] == full_model(held).tiers
    assert order_tiers(("new", "text"), held) == ("text", "new")


def test_a_pretrained_scorer_is_compared_with_the_full_model_and_no_other_fingerprint_changes():
    from m3ray.study.variants import pretrained_variant
    from m3ray.tiers.pretrained.facts import RESMEM

    full = full_model(M3S)
    row = pretrained_variant(full, RESMEM)
    assert (row.name, row.tiers, row.full, row.kind) == ("ResMem, not trained here", ("resmem",), "M3-S", "pretrained")
    assert pretrained_variant(full, RESMEM, "linear").name == "ResMem, calibrated on train (linear)"
    assert from_json(Variant, as_json(row)) == row
    assert not {"pretrained", "calibration"} & set(as_json(full)), "what was trained before keeps its folder"
