"""What importing the package costs and touches (rows U)."""

import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_sprites

PACKAGE = Path(sklearn_sprites.__file__).parent


def run_python(code, *flags):
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=PACKAGE.parent
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


def test_dir_lists_every_public_name():
    assert set(sklearn_sprites.__all__) <= set(dir(sklearn_sprites))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sklearn_sprites.nothing  # noqa: B018
