"""Makes raw.npz: raw perception of `recipes.frames`, by OpenCV, NumPy and scikit-image.

    cd tests && python -m golden.make_raw [--check]

Gives the stored file to the bit with OpenCV 5.0.0, NumPy 2.4.6 and scikit-image 0.26.0.
"""

import itertools

import cv2
import numpy as np
from golden.reference_files import write_or_check
from recipes import frames
from skimage.feature import hog

SEED = 3
HALF_WIDTH = 30


def luma(frame):
    return cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY).astype(np.float64)


def blurriness(gray):
    """20 log10 of what is left of a frame without the square of its low frequencies, mean over pixels, dB."""
    spectrum = np.fft.fftshift(np.fft.fft2(gray))
    y, x = (length // 2 for length in gray.shape)
    spectrum[y - HALF_WIDTH : y + HALF_WIDTH, x - HALF_WIDTH : x + HALF_WIDTH] = 0
    rest = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum)))
    return np.mean(20 * np.log10(np.maximum(rest, 1e-8)))


def flow(first, second):
    displacement = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.linalg.norm(displacement, axis=-1).mean()


def compute():
    clip = frames(SEED)
    bytes_of_luma = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    # As 8-bit images: the strongest channel is chosen on integers, where ties are exact.
    descriptors = [hog(frame, 9, (8, 8), (2, 2), block_norm="L2-Hys", channel_axis=-1) for frame in clip[:2]]
    return {
        "seed": SEED,
        "hog": np.float32(descriptors),
        "brightness": np.array([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)[..., 2].mean() / 255 for frame in clip]),
        "contrast": np.array([luma(frame).std() for frame in clip]),
        "blurriness": np.array([blurriness(luma(frame)) for frame in clip]),
        "mean_optical_flow": np.array([flow(*pair) for pair in itertools.pairwise(bytes_of_luma)], np.float64),
    }


if __name__ == "__main__":
    write_or_check(__doc__, ("raw", compute))
