"""The captions tier, against TF-IDF and a singular value decomposition written out in NumPy."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from m3ray.config.tiers import CaptionsConfig
from m3ray.errors import StudyError
from m3ray.tiers.captions import CaptionModel, fit_caption_model, iter_terms

TRAIN = [
    ("A dog runs in a park", "a brown dog"),
    ("Two men run in the rain",),
    ("A dog sleeps", "the dog sleeps in the park"),
    ("Rain in the park at night",),
    ("Two dogs and a man at night", "night rain"),
    ("a man runs",),
]
NEW = [("The dog runs at night",), ("A zebra!",), (), ("rain rain rain", "two men")]


def reference_terms(captions):
    """Words of two letters or more, and neighbours within a caption."""
    terms = []
    for caption in captions:
        words = re.findall(r"[a-z0-9_]{2,}", caption.lower())
        terms += words + [" ".join(words[k : k + 2]) for k in range(len(words) - 1)]
    return terms


def reference_rows(train, clips):
    """Unit rows of (1 + ln tf) (ln((1 + n) / (1 + df)) + 1) over terms of two train clips or more, and the terms."""
    counted = [reference_terms(captions) for captions in train]
    frequency = {t: sum(t in own for own in counted) for own in counted for t in own}
    terms = sorted(t for t, clips_with in frequency.items() if clips_with >= 2)
    rows = np.zeros((len(clips), len(terms)))
    for row, captions in zip(rows, clips, strict=True):
        own = reference_terms(captions)
        for k, term in enumerate(terms):
            if term in own:
                row[k] = (1 + math.log(own.count(term))) * (math.log((1 + len(train)) / (1 + frequency[term])) + 1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1), terms


def fitted(components=3, train=TRAIN):
    return fit_caption_model(train, CaptionsConfig(components=components))


def test_terms_are_words_and_neighbours_within_a_caption():
    assert list(iter_terms(["A big dog, running", "Park"])) == [
        "big",
        "dog",
        "running",
        "big dog",
        "dog running",
        "park",
    ]


def test_the_vocabulary_and_its_weights_are_tf_idf_s():
    model, (_, terms) = fitted(), reference_rows(TRAIN, TRAIN)
    assert list(model.vocabulary) == terms
    frequency = [sum(term in reference_terms(captions) for captions in TRAIN) for term in terms]
    np.testing.assert_allclose(model.idf, [math.log(7 / (1 + n)) + 1 for n in frequency], rtol=1e-6)
    assert fitted(components=99).transform(TRAIN)["captions"].shape == (6, 5)  # fewer than clips


def test_projections_are_a_truncated_svd_s_up_to_sign():
    """Rows times the leading right singular vectors, less the train split's mean; signs of directions are free."""
    rows, _ = reference_rows(TRAIN, TRAIN)
    _, _, right = np.linalg.svd(rows, full_matrices=False)
    expected_train = rows @ right[:3].T
    expected = reference_rows(TRAIN, NEW)[0] @ right[:3].T - expected_train.mean(axis=0)
    expected[1:3] = 0  # no known word, and no caption: the train split's mean
    found = fitted().transform(NEW)["captions"]
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=2e-6)
    np.testing.assert_allclose(fitted().transform(TRAIN)["captions"].mean(axis=0), 0, atol=1e-6)


def test_scikit_learn_s_own_transform_gives_the_same():
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    single = [(captions[0],) for captions in TRAIN]  # one caption each, so that its pairs are scikit-learn's too
    svd = TruncatedSVD(2, n_iter=7, random_state=0)
    projected = svd.fit_transform(vectorizer.fit_transform([captions[0] for captions in single]))
    expected = svd.transform(vectorizer.transform(["two dogs run in the park"])) - projected.mean(axis=0)
    found = fitted(components=2, train=single).transform([("two dogs run in the park",)])["captions"]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_clip_s_numbers_do_not_depend_on_the_others():
    model = fitted()
    together = model.transform([*TRAIN, *NEW] * 700)["captions"]  # more than one chunk
    np.testing.assert_array_equal(together[len(TRAIN)], model.transform(NEW[:1])["captions"][0])
    np.testing.assert_array_equal(together[: len(TRAIN)], together[-len(TRAIN) - len(NEW) :][: len(TRAIN)])


def test_a_clip_without_captions_is_marked_where_the_train_split_had_such():
    assert list(fitted().transform(NEW)) == ["captions"]
    marked = fit_caption_model([*TRAIN, ()], CaptionsConfig(components=3))
    columns = marked.transform(NEW)
    assert columns["has_caption"].tolist() == [1, 1, 0, 1]
    assert marked.clips == len(TRAIN)
    np.testing.assert_array_equal(columns["captions"], fitted().transform(NEW)["captions"])
    assert marked.sha256 != fitted().sha256


def test_a_fit_comes_back_from_its_files():
    model = replace(fitted(), key="k")
    tensors, metadata = model.to_artifact()
    again = CaptionModel.from_artifact(tensors, metadata)
    assert again.sha256 == model.sha256 == metadata["sha256"]
    assert again.key == "k"
    np.testing.assert_array_equal(again.transform(NEW)["captions"], model.transform(NEW)["captions"])
    assert model.identity() == {"tier": "captions", "code": 1, "fit": model.sha256}


@pytest.mark.parametrize("change", ["idf", "components", "mean"])
def test_another_number_is_another_fit(change):
    model = fitted()
    assert replace(model, **{change: getattr(model, change) + 1}).sha256 != model.sha256


def test_few_clips_have_few_numbers_and_terms_of_one_clip():
    model = fitted(train=[("a red boat",), ("blue sky",)])
    assert model.vocabulary == ("blue", "blue sky", "boat", "red", "red boat", "sky")
    assert model.transform([("red",)])["captions"].shape == (1, 1)
    assert len(fitted(train=[("boat",)]).mean) == 1


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([(), ()], "none of the 2 clips of the train split has a caption: give some"),
        ([("?",), ("a",)], r"no word of two letters stands in the captions of 2 clips \('\?'\)"),
    ],
)
def test_what_cannot_be_fitted_is_told(train, message):
    with pytest.raises(StudyError, match=message):
        fitted(train=train)
