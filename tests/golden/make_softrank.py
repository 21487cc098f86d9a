"""Makes the soft ranks of softrank.npz from its scores, by scikit-learn's isotonic regression.

    cd tests && python -m golden.make_softrank [--check]

The scores `x` and `y` are taken from the stored file: random numbers whose recipe is not known.
Gives the stored ranks with SciPy 1.17.1, scikit-learn 1.9.1 and NumPy 2.4.6 within 1e-14.
"""

import numpy as np
from golden.reference_files import write_or_check
from recipes import golden
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

STRENGTHS = ("1.0", "0.1", "0.01", "0.001")


def soft_rank(values, strength):
    """Blondel et al. 2020, quadratic regularisation: the projection onto the permutahedron by isotonic regression."""
    count = len(values)
    scaled = values / strength
    order = np.argsort(-scaled, kind="stable")
    gaps = scaled[order] - np.arange(count, 0, -1.0)
    ranks = np.empty(count)
    ranks[order] = scaled[order] - IsotonicRegression(increasing=False).fit_transform(np.arange(count), gaps)
    return ranks


def compute():
    stored = golden("softrank")
    x, y = stored["x"], stored["y"]
    figures = {"x": x, "y": y, "spearman": spearmanr(x, y).statistic}
    for text in STRENGTHS:
        ranks = [soft_rank(values, float(text)) for values in (x, y)]
        figures |= {f"soft_rank_{text}": ranks[0], f"soft_spearman_{text}": np.corrcoef(*ranks)[0, 1]}
    return figures


if __name__ == "__main__":
    write_or_check(__doc__, ("softrank", compute))
