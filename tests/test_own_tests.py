"""Every module has a test file of its own name, or stands in `modules_without_tests.txt` with the reason."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "m3ray"
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def read_reasons() -> dict[str, str]:
    lines = (TESTS / "modules_without_tests.txt").read_text().splitlines()
    entries = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return {entry[0]: entry[1] if len(entry) > 1 else "" for entry in entries}


def read_imports(path: Path) -> set[str]:
    """Dotted names that a file imports: modules, and what it takes out of them, which may be modules too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


IMPORTS = frozenset().union(*(read_imports(path) for path in TESTS.rglob("*.py")))
REASONS = read_reasons()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_has_tests_of_its_own_or_a_reason(module):
    own = TESTS / module.with_name(f"test_{module.name}")
    if own.exists():
        assert str(module) not in REASONS, f"{module} has tests now: take it out of modules_without_tests.txt"
        return
    assert REASONS.get(str(module)), (
        f"expected {own.relative_to(TESTS)}, or a line with the reason in modules_without_tests.txt"
    )


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_is_imported_by_a_test(module):
    assert ".".join(("m3ray", *module.with_suffix("").parts)) in IMPORTS


def test_lists_no_module_that_is_gone():
    assert set(REASONS) <= {str(module) for module in MODULES}
