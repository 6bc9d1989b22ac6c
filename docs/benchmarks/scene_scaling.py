"""Time of decomposing against the numbers of images, layers and sprites.

    python docs/benchmarks/scene_scaling.py

Writes scene_scaling.json and scene_scaling.png beside this file. Sprites are learned
once, roughly; then models of some layers, or of these sprites and others that no image
shows, decompose images: with fewer sprites than there are kinds, images are explained
badly, and take longer. Multi-dSprites shows images and layers, Tetrominoes, which has
many sprites, the rest. Times are those of the processor, for all threads together.
"""

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
from scaling import exponent, panel
from scipy.ndimage import gaussian_filter
from sklearn.exceptions import ConvergenceWarning

from sklearn_sprites import LayeredSpriteDecomposition
from sklearn_sprites.datasets import make_multi_dsprites, make_tetrominoes

KINDS = 19  # of Tetrominoes
PANELS = {"images": "n_images", "layers": "n_layers", "sprites": "n_sprites"}


def fitted(images, **params) -> LayeredSpriteDecomposition:
    """A model after a few rounds."""
    model = LayeredSpriteDecomposition(**{"random_state": 0, **params})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(images)


def seconds(model: LayeredSpriteDecomposition, images) -> float:
    """Processor time of decomposing images."""
    model.decompose(images[:16])  # what is built at first use
    began = time.process_time()
    model.decompose(images)
    return time.process_time() - began


def timed(images, sprites, n_layers: int, **params) -> dict:
    """Decompose images with given sprites."""
    shown = {"n_sprites": len(sprites), "n_layers": n_layers, "init": sprites}
    model = fitted(images, **shown, max_rounds=1, **params)
    return {
        "n_images": len(images),
        "n_layers": n_layers,
        "n_sprites": len(sprites),
        "decompose_s": seconds(model, images),
    }


def with_strangers(sprites, times: int):
    """Sprites and, for each, `times` - 1 smooth blobs of its energy."""
    draws = np.random.default_rng(0)
    parts = [sprites]
    for _ in range(times - 1):
        blobs = np.ones_like(sprites)
        ink = gaussian_filter(draws.random(sprites.shape[:3]), (0, 2, 2)) - 0.5
        ink = ink.clip(0) * sprites[..., -1].max()
        power = np.square(sprites[..., :-1]).mean((1, 2, 3), keepdims=True)
        ink *= np.sqrt(power[..., 0] / np.square(ink).mean((1, 2), keepdims=True))
        blobs[..., :-1] = ink[..., None]
        parts.append(blobs)
    return np.concatenate(parts)


def measure(args: argparse.Namespace) -> dict:
    """All times, one after the other."""
    most = max(args.images)
    dsprites = make_multi_dsprites(max(most, 300), random_state=0).images
    learned = fitted(
        dsprites[:300], n_sprites=3, n_layers=4, n_backgrounds=1, max_rounds=args.rounds
    )
    over = {"n_backgrounds": 1}
    results: dict[str, list[dict]] = {
        "images": [
            timed(dsprites[:n], learned.sprites_, 4, **over) for n in args.images
        ],
        "layers": [
            timed(dsprites[: args.images[0]], learned.sprites_, n, **over)
            for n in args.layers
        ],
    }
    pieces = make_tetrominoes(max(most, 400), random_state=0).images
    learned = fitted(pieces[:400], n_sprites=KINDS, n_layers=3, max_rounds=args.rounds)
    results["sprites"] = [
        timed(pieces[:most], with_strangers(learned.sprites_, times), 3)
        for times in args.times
    ]
    slopes = {n: exponent(results[n], key, "decompose_s") for n, key in PANELS.items()}
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "exponents": slopes,
        **results,
    }


def plot(results: dict, path: Path) -> None:
    """Three panels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for axis, (name, key) in zip(axes, PANELS.items(), strict=True):
        rows = results[name]
        panel(axis, name, [r[key] for r in rows], [r["decompose_s"] for r in rows])
        axis.set_title(f"time ~ {name}^{results['exponents'][name]:.2f}")
    axes[0].set_ylabel("seconds of processor time")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    args.images.sort()
    results = measure(args)
    text = json.dumps(results, indent=1)
    (args.folder / "scene_scaling.json").write_text(text + "\n")
    plot(results, args.folder / "scene_scaling.png")
    print(text)


if __name__ == "__main__":
    main()
