"""What the source may not contain (row F11), and what lies at the top level."""

import ast
import subprocess
from pathlib import Path

import pytest

import sklearn_sprites

PACKAGE = Path(sklearn_sprites.__file__).parent
TOP = PACKAGE.parent

FORBIDDEN_CALLS = {
    "cloudpickle.load",
    "eval",
    "exec",
    "joblib.load",
    "numpy.random.seed",
    "numpy.random.set_state",
    "os.system",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "print",
    "random.seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "torch.load",
    "torch.manual_seed",
    "torch.random.manual_seed",
    "torch.seed",
    "yaml.load",
}
TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs",
    "examples",
    "pyproject.toml",
    "sklearn_sprites",
    "tests",
}


def aliases(tree):
    """Local name -> dotted name of what it was imported from."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                found[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node, names):
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return ""


def forbidden(source):
    """Calls in a source that row F11 forbids, as (line, name)."""
    tree = ast.parse(source)
    names = aliases(tree)
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func, names)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        unsafe = (
            name in FORBIDDEN_CALLS
            or (name == "numpy.load" and truth(given.get("allow_pickle")))
            or truth(given.get("shell"))
            or (name.endswith("extractall") and "filter" not in given)
        )
        if unsafe:
            found.append((node.lineno, name))
    return found


def truth(node):
    """Whether an argument is given and is not the literal False."""
    return node is not None and getattr(node, "value", True) is not False


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_f11_no_forbidden_call(path):
    assert forbidden(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle; pickle.load(f)",
        "from pickle import loads as read; read(b)",
        "import torch; torch.load(p)",
        "import torch as t; t.manual_seed(0)",
        "import numpy as np; np.load(p, allow_pickle=True)",
        "import numpy as np; np.load(p, allow_pickle=flag)",
        "import numpy as np; np.random.seed(0)",
        "import yaml; yaml.load(s)",
        "eval('1')",
        "exec('1')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "archive.extractall(path)",
        "print(1)",
    ],
)
def test_f11_finds_every_forbidden_call(source):
    assert len(forbidden(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "import numpy as np; np.load(p, allow_pickle=False)",
        "archive.extractall(path, filter='data')",
        "import torch; torch.Generator().manual_seed(0)",
    ],
)
def test_f11_lets_harmless_calls_pass(source):
    assert forbidden(source) == []


def test_top_level_holds_nothing_unexpected():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=False
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout")
    roots = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {root for root in roots if not root.startswith(".")} <= TOP_LEVEL
