"""What the documents say about the repository is true."""

import ast
import re
from pathlib import Path

import pytest

import sklearn_sprites
from sklearn_sprites._engine.spec import TRANSFORMATIONS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)\)")
PROMISES = ROOT / "docs" / "promises.md"


def links(document):
    return LINK.findall(document.read_text())


def proofs():
    """Pairs (test, file) that the page of promises links to."""
    return [(t.strip("`"), f) for t, f in links(PROMISES) if f.startswith("../tests/")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document):
    for _, target in links(document):
        if "://" not in target and not target.startswith("gallery/"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize(("test", "file"), proofs())
def test_every_promise_has_its_test(test, file):
    tree = ast.parse((PROMISES.parent / file).resolve().read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert test in names


def test_every_line_of_promises_has_a_proof():
    rows = [r for r in PROMISES.read_text().splitlines() if r.startswith("- ")]
    entries = re.split(r"\n- ", PROMISES.read_text())[1:]
    assert len(rows) == len(entries) > 5
    assert all("../tests/" in entry for entry in entries)


@pytest.mark.parametrize("page", ["transformations.md", "conventions.md"])
def test_every_transformation_is_explained(page):
    text = (ROOT / "docs" / page).read_text()
    missing = [name for name in TRANSFORMATIONS if f"{name}" not in text]
    assert missing in ([], ["identity"])


def test_the_version_is_in_the_changelog():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert sklearn_sprites.__version__ in headings


def test_readme_has_the_two_commands():
    blocks = re.findall(
        r"```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 2
    assert all("\n" not in block for block in blocks)
    assert "examples/plot_digits.py" in blocks[0]
    assert "pytest" in blocks[1]
