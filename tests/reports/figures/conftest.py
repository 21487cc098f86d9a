import pytest
from matplotlib import pyplot as plt

from m3ray.reports.style import house_style


@pytest.fixture(autouse=True)
def _style():
    with house_style():
        yield
    assert not plt.get_fignums(), "figures are closed"
