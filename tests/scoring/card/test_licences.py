"""Terms of weights."""

import pytest
from made_cards import DIGEST, SCENE

from m3ray.scoring.card.licences import UNKNOWN, describe_weights, find_spdx


def source(location, seed=0):
    return {"location": location, "sha256": DIGEST, "seed": seed}


def test_published_weights_have_their_terms_and_their_address():
    weights = describe_weights("scene", source(SCENE))
    assert (weights.origin, weights.sha256, weights.is_local_file) == (SCENE, DIGEST, False)
    assert "BSD-3-Clause" in weights.licence
    assert "noncommercial research" in weights.licence


def test_a_file_of_a_machine_is_named_without_its_folders_and_its_terms_are_unknown():
    weights = describe_weights("event", source("/home/ada/weights/csn.pth"))
    assert (weights.origin, weights.licence, weights.is_local_file) == ("csn.pth", UNKNOWN, True)


def test_scorers_are_noncommercial_where_their_authors_say_so():
    resmem = describe_weights("resmem", source("/site-packages/resmem/model.pt"))
    assert (resmem.origin, resmem.is_noncommercial, resmem.is_local_file) == ("package resmem", True, False)
    vitmem = describe_weights("vitmem", source(None))
    assert (vitmem.licence, vitmem.is_noncommercial) == ("MIT License", False)


def test_untrained_weights_say_so_loudly():
    assert describe_weights("scene", {"location": None, "sha256": None, "seed": 3}).origin == (
        "**UNTRAINED**: random numbers of seed 3"
    )


@pytest.mark.parametrize("tier", ["torchvision:resnet50", "timm:vit", "clip:ViT-B-32"])
def test_libraries_have_terms_of_their_code_and_others_of_their_weights(tier):
    assert describe_weights(tier, source("https://host/w.pth")).licence.startswith("code ")


@pytest.mark.parametrize(
    ("said", "spdx"), [("cc-by-4.0", "CC-BY-4.0"), ("MIT License", "MIT"), ("Apache-2.0", "Apache-2.0"), ("mine", None)]
)
def test_a_licence_that_models_have_is_found_by_its_name(said, spdx):
    assert find_spdx(said) == spdx
