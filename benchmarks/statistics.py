"""Simulated studies: false stars, coverage and power of a difference's interval, beside the two rules that it replaced.

Models that differ by chance alone (tests/made_predictions.py): 28 rows against one full model, as a study has them, and
rows with a true difference beside them. For each kind of chance: the share of false stars of one difference; of tables
with any false star after Holm's correction; the coverage of the 95 % intervals; and the share of true differences that
were found, beside the share that was predicted. Student's interval over runs alone and the bootstrap over clips alone,
which tables printed before, stand beside them on the same predictions.

    python benchmarks/statistics.py [--tables 200] [--kinds clips mixture] [--markdown FILE]
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from os import __file__ as beside
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...

elif __name__ == "__main__":
    from false_stars import main

    main()
else:
    # Scripts of this folder have it first on their path, so they find this file by the name of the standard library's
    # module: that one takes its place.
    spec = spec_from_file_location("statistics", beside.replace("os.py", "statistics.py"))
    sys.modules["statistics"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
