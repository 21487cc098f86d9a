"""HOG against scikit-image's, in golden/raw.npz and of images made here."""

import numpy as np
import pytest
import torch
from counting import META, count_operations
from recipes import frames, golden
from skimage.feature import hog as skimage_hog

from m3ray.errors import ShapeError
from m3ray.tiers.hog import LENGTH, hog, hog_of_bytes, hog_of_planes


def test_hog():
    figures = golden("raw")
    images = torch.from_numpy(frames(int(figures["seed"]))[:2]).permute(0, 3, 1, 2)
    assert np.abs(hog(images.float() / 255).numpy() - figures["hog"]).max() < 1e-4


def test_hog_has_the_paper_s_length():
    assert LENGTH == 34_596 == hog(torch.rand(1, 3, 256, 256)).shape[1]


def test_bytes_and_fractions_give_the_same():
    images = torch.from_numpy(frames(5, t=3)).permute(0, 3, 1, 2)
    assert torch.equal(hog(images.float() / 255), hog_of_bytes(images))


def test_of_equally_strong_channels_the_first_wins():
    """Red grows downwards, blue to the right, by one a pixel: red decides everywhere, and in reversed order blue."""
    image = np.zeros((256, 256, 3), np.uint8)
    image[..., 0] = np.arange(256)[:, None]
    image[..., 2] = np.arange(256)
    both = np.stack([image, image[..., ::-1]])
    found = hog_of_bytes(torch.from_numpy(both).permute(0, 3, 1, 2)).numpy()
    expected = [skimage_hog(i, 9, (8, 8), (2, 2), block_norm="L2-Hys", channel_axis=-1) for i in both]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found[0], found[1], atol=1e-3)


def test_a_vertical_edge_lies_in_the_bin_of_its_gradient():
    """Its gradient points along x, 0 degrees: the first of nine bins."""
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, 128:] = 255
    blocks = hog_of_bytes(torch.from_numpy(image).permute(2, 0, 1)[None]).view(31, 31, 4, 9)
    assert (blocks[..., 1:] == 0).all()
    assert (blocks[:, [14, 15, 16], :, 0].sum(dim=-1) > 0).all()
    assert blocks[:, :14].abs().max() == 0


@pytest.mark.parametrize("bad", [torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 256, 256, dtype=torch.uint8)])
def test_other_sizes_and_types_are_named(bad):
    with pytest.raises(ShapeError, match="expected rgb as"):
        hog(bad)


def test_the_way_of_a_gpu_gives_what_the_way_of_a_cpu_gives():
    """Noise, weak noise, equal channels (ties) and flat frames."""
    images = torch.from_numpy(frames(5, t=4)).permute(0, 3, 1, 2).contiguous()
    images[1] //= 16
    images[2, 2] = images[2, 0]
    images[3] = 51
    torch.testing.assert_close(hog_of_planes(images.float()), hog_of_bytes(images), rtol=0, atol=1e-6)


def test_on_a_device_no_sum_depends_on_the_order_of_threads_and_no_table_is_uploaded_again():
    """27 launches for 64 frames; before, 38."""
    counted = count_operations(hog_of_bytes, torch.empty(64, 3, 256, 256, dtype=torch.uint8, device=META))
    assert counted.uploads == counted.downloads == 0
    assert counted.launches <= 27
    assert not {"index_add_", "index_add", "scatter_add_"} & set(counted.names)
