"""Makes flow.npz: mean optical flow of `recipes.moving_texture` under four known motions, by OpenCV's Farneback.

    cd tests && python -m golden.make_flow [--check]

Gives the stored file to the bit with OpenCV 5.0.0 and NumPy 2.4.6.
"""

import itertools

import cv2
import numpy as np
from golden.reference_files import write_or_check
from recipes import moving_texture

FIRST_SEED = 10
MOTIONS = ("shift", "rotate", "zoom", "still")


def magnitude(first, second):
    # Pyramid scale, levels, window, iterations, polynomial neighbourhood and deviation, flags.
    displacement = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.linalg.norm(displacement, axis=-1).mean()


def compute():
    clips = {motion: moving_texture(FIRST_SEED + k, motion) for k, motion in enumerate(MOTIONS)}
    flows = {m: np.array([magnitude(*p) for p in itertools.pairwise(clip)], np.float64) for m, clip in clips.items()}
    return {"first_seed": FIRST_SEED, **flows}


if __name__ == "__main__":
    write_or_check(__doc__, ("flow", compute))
