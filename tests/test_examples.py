"""Every example runs, silently but for its prints, in less than a minute."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pace import pace

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
LIMIT = 60  # seconds of one core, which other processes do not lengthen


def run(example, folder):
    """An example's result, and the seconds of processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return result, seconds


def scores(text):
    """The numbers between 0 and 1 in a text."""
    words = [word for word in text.split() if word[:2] in ("0.", "1.")]
    return [float(word) for word in words if word.replace(".", "", 1).isdigit()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_does_what_it_says(example, tmp_path):
    result, seconds = run(example, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert CLAIMS[example.stem](result.stdout)
    assert (tmp_path / "digits.png").exists() == (example.stem == "plot_digits")
    assert seconds < LIMIT * pace()


def beats_kmeans(text):
    ours, kmeans = scores(text)
    return ours > kmeans + 0.1


def mistakes_cost(text):
    """All but one too many: a kind drawn by two sprites is drawn as well."""
    right, *wrong = (int(line.rsplit(" ", 1)[1]) for line in text.splitlines())
    return right < 5 and min(wrong[:1] + wrong[2:]) > 50


CLAIMS = {
    "plot_cosegmentation": lambda text: min(scores(text)) > 0.8,
    "plot_digits": beats_kmeans,
    "plot_editing_a_scene": lambda text: scores(text) == [1.0],
    "plot_grid_search": lambda text: "best: none" not in text and "best:" in text,
    "plot_how_many_sprites": lambda text: text.endswith("elbow: 6\n"),
    "plot_image_folder": lambda text: scores(text)[0] > 0.8 and "broken.jpg" in text,
    "plot_multi_dsprites": lambda text: min(scores(text)) > 0.75,
    "plot_own_colors": lambda text: min(scores(text)) > 0.95,
    "plot_tetrominoes": lambda text: min(scores(text)) > 0.95,
    "plot_traffic_signs": beats_kmeans,
    "plot_when_it_fails": mistakes_cost,
}
