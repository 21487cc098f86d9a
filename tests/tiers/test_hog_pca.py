"""HOG's PCA on few frames: ten numbers in any case, those that so few frames cannot tell being 0."""

import warnings

import numpy as np
import pytest
import torch
from counting import META, count_operations

from m3ray.errors import StudyError
from m3ray.tiers.hog_pca import _project, fit_hog_projection


def descriptors(count, width=400):
    return np.random.default_rng(0).random((count, width)).astype(np.float32)


@pytest.mark.parametrize(("count", "directions"), [(1, 0), (2, 1), (3, 2), (10, 9), (11, 10), (40, 10)])
def test_n_frames_span_n_minus_1_directions(count, directions):
    rows = descriptors(count)
    found = fit_hog_projection(rows)
    assert (found.frames, found.directions) == (count, directions)
    values = found.transform(descriptors(60))
    assert values.shape == (60, 10)
    assert np.isfinite(values).all()
    assert (values[:, directions:] == 0).all()
    if directions:
        np.testing.assert_allclose(found.transform(rows)[:, :directions].std(axis=0, ddof=1), 1, rtol=1e-3)


@pytest.mark.parametrize("count", [2, 24, 600])
def test_equal_frames_span_none(count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # shares of no variance are not worth a warning
        found = fit_hog_projection(np.repeat(descriptors(1), count, axis=0))
    assert found.directions == 0
    assert (found.transform(descriptors(5)) == 0).all()


def test_no_frame_is_an_error():
    with pytest.raises(StudyError, match="at least 1 decodable train clip"):
        fit_hog_projection([])


def test_hog_projection_equals_scikit_learn_s_exact_pca():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((60, 12)) * np.linspace(9, 1, 12)) @ rng.standard_normal((12, 300))
    found = fit_hog_projection(iter(rows)).transform(rows)
    expected = PCA(10, whiten=True).fit_transform(rows)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-3, atol=1e-3)


def test_hog_projection_needs_a_clip():
    with pytest.raises(StudyError, match="at least 1"):
        fit_hog_projection(iter(np.zeros((0, 30))))


def test_hog_projection_of_identical_clips_is_zero_not_noise():
    projection = fit_hog_projection(iter(np.ones((5, 30))))
    assert np.all(projection.transform(np.ones((2, 30))) == 0)


def test_a_device_projects_as_the_host_does_and_uploads_the_pca_once():
    rows = descriptors(40)
    projection = fit_hog_projection(rows)
    expected = projection.transform(rows)
    assert np.array_equal(projection.on_device(torch.device("cpu"))(torch.from_numpy(rows)).numpy(), expected)
    tensors = [torch.from_numpy(array) for array in (rows, projection.mean, projection.components)]
    np.testing.assert_allclose(_project(*tensors).numpy(), expected, rtol=1e-4, atol=1e-4)
    project = projection.on_device(META)
    counted = count_operations(project, torch.empty(3, 400, device=META))
    assert (counted.uploads, counted.downloads) == (0, 0)
    assert project(torch.empty(3, 400, device=META)).shape == (3, 10)
