"""What importing the package costs and touches (rows U)."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from sklearn.utils.fixes import parse_version

import sklearn_sprites

PACKAGE = Path(sklearn_sprites.__file__).parent


OPTIONAL = ("matplotlib", "pandas", "polars", "pyarrow", "rich")

WITHOUT_OPTIONAL = f"""
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: (
    None if name.partition(".")[0] in {OPTIONAL!r} else find_spec(name, *rest)
)
"""


def run_python(code, *flags, cwd=PACKAGE.parent, **env):
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **env},
    )


def test_u_import_is_silent_with_warnings_as_errors():
    result = run_python("import sklearn_sprites", "-W", "error")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_u_import_does_not_import_torch():
    code = "import sklearn_sprites, sys; print('torch' in sys.modules)"
    assert run_python(code).stdout == "False\n"


def test_u_import_adds_little_to_the_import_of_sklearn():
    code = (
        "import time, sklearn; start = time.perf_counter(); import sklearn_sprites;"
        "print(time.perf_counter() - start)"
    )
    best = min(float(run_python(code).stdout) for _ in range(3))
    assert best < 0.3


def test_u_describing_a_fit_does_not_import_torch():
    code = (
        "import sys, sklearn_sprites as s; s.SpriteClustering(reassignment=s.Swap());"
        "s.metrics, s.datasets, s.exceptions, s.SpriteDisplay; print('torch' in "
        "sys.modules)"
    )
    assert run_python(code).stdout == "False\n"


def test_u_every_public_name_imports_without_optional_packages():
    code = (
        WITHOUT_OPTIONAL + "import sklearn_sprites as s\n"
        "print(all([getattr(s, name) is not None for name in s.__all__]))"
    )
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("True\n", "")


def test_u_a_fit_is_silent_needs_nothing_optional_and_writes_no_file(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    code = (
        WITHOUT_OPTIONAL
        + "import numpy as np, warnings; from sklearn_sprites import SpriteClustering\n"
        "from sklearn.exceptions import ConvergenceWarning\n"
        "warnings.simplefilter('error')\n"
        "warnings.simplefilter('ignore', ConvergenceWarning)  # one epoch\n"
        "warnings.filterwarnings('ignore', 'Implicitly cleaning up')  # torch 2.6\n"
        "X = np.random.RandomState(0).uniform(size=(20, 6, 6))\n"
        "SpriteClustering(2, transformations=('affine',), max_epochs=1,"
        " init='sample', random_state=0).fit(X).predict(X)"
    )
    result = run_python(code, cwd=tmp_path, HOME=str(home))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]


FITS = {
    "clusters": """
for options in (
    {},
    {"n_backgrounds": 1, "transformations": ("color", "thin_plate_spline")},
    {"transformations": ("similarity",)},
):
    SpriteClustering(2, max_epochs=2, random_state=0, **options).fit(X).predict(X)
""",
    "scenes": """
for options in (
    {},
    {"n_backgrounds": 1, "sprite_update": "gradient"},
    {"localizer": Distilled(steps=2, end_to_end=1)},
    {"localizer": "regression"},
):
    model = LayeredSpriteDecomposition(2, n_layers=2, max_rounds=1, **options)
    model.fit(X).predict(X)
""",
}


@pytest.mark.skipif(
    parse_version(version("torch")) < parse_version("2.13"),
    reason="older ones load SymPy when modules are made on the device 'meta'",
)
@pytest.mark.parametrize("name", FITS)
def test_d7_the_first_fits_of_a_process_leave_everything_as_it_was(name, tmp_path):
    before = """
import os, sys, warnings, numpy as np, torch, sklearn.cluster
from sklearn_sprites import Distilled, LayeredSpriteDecomposition, SpriteClustering
warnings.simplefilter("ignore")
X = np.random.RandomState(0).uniform(size=(20, 16, 16))
X[:, :, :4] = X[:, :4] = 0
state = lambda: (dict(os.environ), list(warnings.filters))
before = state()
"""
    after = """
print(state() == before, "sympy" in sys.modules, "torch._dynamo" in sys.modules)
"""
    code = before + FITS[name] + after
    result = run_python(code, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert (result.stdout, result.stderr) == ("True False False\n", "")
    assert not list(tmp_path.iterdir())


def test_dir_lists_every_public_name():
    assert set(sklearn_sprites.__all__) <= set(dir(sklearn_sprites))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sklearn_sprites.nothing  # noqa: B018
