"""What README and docs/ say of this repository is so: trees, commands, options, imports, links, versions."""

import ast
import dataclasses
import importlib
import re
import shlex
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import get_type_hints

import pytest
import tyro
import yaml

import m3ray
from m3ray.cli import rename_old_options
from m3ray.commands import catalogue
from m3ray.commands.short_help import load_options

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
PACKAGES = {p.parent.relative_to(TOP).as_posix() for p in (TOP / "m3ray").rglob("__init__.py")}
# Options of other programs that the pages name.
FOREIGN = {"--upgrade", "--upgrade-package", "--require-hashes", "--no-deps", "--help", "--strict", "--working-dir"}
FOREIGN |= {"--help-all", "--version", "--exclusive", "--shm-size", "--user"}


def page_id(page):
    return page.relative_to(TOP).as_posix()


def read_blocks(page, language):
    """Texts of a page's fenced blocks of one language, those within lists too."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, text in blocks]


def read_prose(page):
    """A page's text without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def read_tree(page):
    """Paths below m3ray/ that a tree of indented names shows, `config/` and `schema.py` alike."""
    lines = next(block for block in read_blocks(page, "text") if "\nm3ray/\n" in block).splitlines()
    start = lines.index("m3ray/")
    paths, parents = set(), ["m3ray"]
    for line in lines[start + 1 :]:
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        if depth == 0:
            break
        parents[depth:] = [name.rstrip("/")]
        paths.add("/".join(parents) + ("/" if name.endswith("/") else ""))
    return paths


def read_commands(page):
    """Command lines of a page's bash blocks, continued lines joined, comments gone; and those within its sentences."""
    lines = [line for block in read_blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:python )?(?:jobs|benchmarks)/[^`]+)`", read_prose(page))
    lines += re.findall(r"^entrypoint: (.*)", page.read_text(), re.MULTILINE)
    for line in lines:
        if re.search(r"\b(python|pytest|make) |^\w+/\w+\.py ", line):
            yield shlex.split(line, comments=True)


COMMANDS = [(page_id(page), words) for page in PAGES for words in read_commands(page)]


def find_script(words, folder):
    """The script below a folder that a command runs, and its arguments."""
    for position, word in enumerate(words):
        if re.search(rf"(^|/){folder}/\w+\.py$", word):
            return TOP / folder / Path(word).name, words[position + 1 :]
    return None


JOBS = [(page, *job) for page, words in COMMANDS if (job := find_script(words, "jobs"))]
BENCHMARKS = [(page, *script) for page, words in COMMANDS if (script := find_script(words, "benchmarks"))]


def read_options_class(job):
    """The dataclass that a job's command line is made from: the first argument of its call of `main`."""
    tree = ast.parse(job.read_text())
    call = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "main")
    name = call.args[0].id  # type: ignore[attr-defined]
    module = next(n.module for n in tree.body if isinstance(n, ast.ImportFrom) and name in {a.name for a in n.names})
    return getattr(importlib.import_module(module), name)


def list_options(options, prefix="--"):
    """Every option of a dataclass as it is written on a command line, groups too."""
    for name, kind in get_type_hints(options).items():
        if name in {field.name for field in dataclasses.fields(options)}:
            option = prefix + name.replace("_", "-")
            yield option
            if dataclasses.is_dataclass(kind):
                yield from list_options(kind, f"{option}.")


def test_readme_is_short():
    assert len((TOP / "README.md").read_bytes()) <= 8_000


def test_readme_shows_the_packages_that_there_are():
    two_deep = {f"{package}/" for package in PACKAGES if 1 <= package.count("/") <= 2}
    assert read_tree(TOP / "README.md") == two_deep


def test_design_shows_the_packages_and_the_modules_beside_them():
    modules = {p.relative_to(TOP).as_posix() for p in (TOP / "m3ray").glob("*.py") if p.name != "__init__.py"}
    shown = read_tree(DOCS / "design.md")
    assert shown == {f"{package}/" for package in PACKAGES if "/" in package} | modules | {"m3ray/pipelines/jobs.py"}


@pytest.mark.parametrize("page", [TOP / "README.md", DOCS / "design.md"], ids=page_id)
def test_what_stands_beside_the_package_is_there(page):
    tree = next(block for block in read_blocks(page, "text") if "\nm3ray/\n" in block)
    names = [name for line in tree.splitlines() for name in re.findall(r"^(\w\S*|(?<=  )\w\S*\.\w+)", line)]
    names += tree.splitlines()[0].split() if page.name == "design.md" else []
    assert len(names) > 3
    assert [name for name in names if not (TOP / name).exists()] == []


def test_pages_show_commands():
    assert len(JOBS) > 20
    assert {path.name for _, path, _ in JOBS} == {path.name for path in (TOP / "jobs").glob("*.py")}


@pytest.mark.parametrize(("page", "job", "arguments"), JOBS, ids=lambda value: None)
def test_jobs_take_the_arguments_that_pages_show(page, job, arguments):
    assert job.exists(), page
    options = read_options_class(job)
    arguments = rename_old_options(options, [word for word in arguments if word not in ("...", "&")])
    try:
        tyro.cli(options, args=arguments)
    except SystemExit as error:
        pytest.fail(f"{page}: {job.name} {' '.join(arguments)}: exit {error.code}")


def test_a_wrong_argument_would_be_noticed():
    with pytest.raises(SystemExit):
        tyro.cli(read_options_class(TOP / "jobs" / "train.py"), args=["--out", "x", "--no-such-option", "1"])


@pytest.mark.parametrize(("page", "script", "arguments"), BENCHMARKS, ids=lambda value: None)
def test_benchmarks_take_the_options_that_pages_show(page, script, arguments):
    assert script.exists(), page
    text = script.read_text()
    assert [word for word in arguments if word.startswith("--") and f'"{word}"' not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_options_named_in_sentences_exist(page):
    known = {option for job in (TOP / "jobs").glob("*.py") for option in list_options(read_options_class(job))}
    known |= {option for command in catalogue.COMMANDS.values() for option in list_options(load_options(command))}
    spans = re.findall(r"`(--[^`]*)`", page.read_text())
    named = {word for span in spans for word in re.findall(r"--[a-z][a-z0-9.-]*[a-z0-9]", span)} - FOREIGN
    old = {"--full", "--moments", "--limits.strikes"}
    assert sorted(named - known - old) == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_make_has_the_targets_that_pages_name(page):
    targets = set(re.findall(r"^([a-z]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)", page.read_text()))
    named |= {words[1] for name, words in COMMANDS if name == page_id(page) and words[0] == "make"}
    assert named <= targets


def can_import(module, name):
    return hasattr(importlib.import_module(module), name) or find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_blocks_compile_and_their_imports_resolve(page):
    for block in read_blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                assert [alias.name for alias in node.names if not can_import(node.module, alias.name)] == []


def slugs(page):
    """Anchors of a page's headings."""
    heads = re.findall(r"^#+ (.*)", read_prose(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read_prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in slugs(file), target


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_named_in_sentences_exist(page):
    named = set(re.findall(r"`((?:m3ray|tests|benchmarks|jobs|docs)/[\w/.-]+)`", page.read_text()))
    examples = {name for name in named if "/my_" in name or "/test_my_" in name}
    assert sorted(name for name in named - examples if not (TOP / name).exists()) == []


def read_site():
    class Loader(yaml.SafeLoader):
        """Takes mkdocs' own tags for nothing."""

    Loader.add_multi_constructor("!", lambda *_: None)
    Loader.add_multi_constructor("tag:", lambda *_: None)
    return yaml.load((TOP / "mkdocs.yml").read_text(), Loader)


def list_pages(nav):
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from list_pages(value) if isinstance(value, list) else [value]


def test_the_site_shows_every_page_and_is_strict():
    site = read_site()
    assert sorted(list_pages(site["nav"])) == sorted(
        p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*") if p.suffix in (".md", ".ipynb")
    )
    assert site["strict"] is True
    assert site["validation"]["links"]["anchors"] == "warn"


def test_every_package_and_module_of_the_top_has_an_api_page():
    text = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    packages = {package.replace("/", ".") for package in PACKAGES if package.count("/") <= 1}
    modules = {f"m3ray.{p.stem}" for p in (TOP / "m3ray").glob("*.py") if p.name != "__init__.py"}
    assert shown == packages | modules


def test_one_version_stands_everywhere():
    citation = yaml.safe_load((TOP / "CITATION.cff").read_text())
    assert citation["version"] == m3ray.__version__
    assert f"\n## [{m3ray.__version__}]\n" in (TOP / "CHANGELOG.md").read_text()
