"""Time of LayeredSpriteDecomposition against images, layers and sprites.

    python docs/benchmarks/scene_scaling.py

Tetrominoes, a fixed number of rounds with a fixed number of images each; then all
images are decomposed. Where one number varies, the others stay as they are in the last
column of `FIXED`. Times are of the processor, all threads together. Exponents are
slopes of log(time) against log(size): one is linear, less is better. Writes
scene_scaling.json beside this file.
"""

import argparse
import json
import os
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_sprites import LayeredSpriteDecomposition
from sklearn_sprites.datasets import make_tetrominoes
from sklearn_sprites.exceptions import ClusterCollapseWarning

FIXED = {"n_images": 800, "n_layers": 3, "n_sprites": 19}
VARIED = {
    "n_images": (400, 800, 1600),
    "n_layers": (3, 6, 12),
    "n_sprites": (10, 20, 40),
}
ROUNDS, IMAGES_PER_ROUND = 4, 200


def measure(n_images: int, n_layers: int, n_sprites: int) -> dict:
    """Seconds of the rounds and of decomposing all images."""
    images = make_tetrominoes(n_images, random_state=0).images
    model = LayeredSpriteDecomposition(
        n_sprites,
        n_layers=n_layers,
        max_rounds=ROUNDS,
        images_per_round=IMAGES_PER_ROUND,
        tol=0,
        random_state=0,
    )
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", ClusterCollapseWarning)
        model.fit(images)
    fitted = time.process_time()
    model.decompose(images)
    return {
        "n_images": n_images,
        "n_layers": n_layers,
        "n_sprites": n_sprites,
        "fit_cpu_s": fitted - began,
        "decompose_cpu_s": time.process_time() - fitted,
    }


def exponent(rows: list[dict], key: str, seconds: str) -> float:
    """Slope of log(time) against log(size)."""
    times = np.log([row[seconds] for row in rows])
    return float(np.polyfit(np.log([row[key] for row in rows]), times, 1)[0])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    measure(100, 3, 19)  # imports and caches
    results: dict = {
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "machine": platform.machine(),
    }
    for key, sizes in VARIED.items():
        rows = [measure(**{**FIXED, key: size}) for size in sizes]
        results[key] = {
            "rows": rows,
            "fit_exponent": exponent(rows, key, "fit_cpu_s"),
            "decompose_exponent": exponent(rows, key, "decompose_cpu_s"),
        }
    text = json.dumps(results, indent=1)
    (args.folder / "scene_scaling.json").write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
