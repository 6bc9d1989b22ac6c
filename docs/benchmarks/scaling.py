"""Time of a fit against the number of images and of clusters; plain k-means' time.

    python docs/benchmarks/scaling.py

Writes scaling.json and scaling.png beside this file. Images are scikit-learn's digits,
enlarged to 28 x 28 and moved about. The number of epochs is fixed: stages are too short
to converge before their end. An epoch has at least 32 steps, so that sets of less than
32 batches take longer per image.

Without transformations SpriteClustering is k-means; its time is compared with that of
MiniBatchKMeans in the same process, on 10,000 x 784 pixels: the digits, Gaussian
blobs, far apart and overlapping, and noise.
"""

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning

from sklearn_sprites import SpriteClustering

SIDE, DRAWN = 28, 20
EPOCHS = 10  # the longest stage has 7, and plateaus are looked for after 8
CENTER_BOXES = {"far apart": 10.0, "overlapping": 0.1}  # of blobs of deviation 1


def moving_digits(n_images: int, seed: int = 0) -> NDArray:
    """Digits (n, 28, 28) in [0, 1], drawn 20 x 20 at random places."""
    rng = np.random.default_rng(seed)
    digits = load_digits().images / 16
    zoom = (1, DRAWN / digits.shape[1], DRAWN / digits.shape[2])
    large = ndimage.zoom(digits, zoom, order=1)
    images = np.zeros((n_images, SIDE, SIDE), np.float32)
    chosen = rng.integers(len(large), size=n_images)
    corners = rng.integers(SIDE - DRAWN + 1, size=(n_images, 2))
    for image, number, (top, left) in zip(images, chosen, corners, strict=True):
        image[top : top + DRAWN, left : left + DRAWN] = large[number]
    return images


def fit_seconds(images: NDArray, n_clusters: int, max_epochs: int) -> dict:
    """Time of one fit with a fixed number of epochs."""
    estimator = SpriteClustering(
        n_clusters, max_epochs=max_epochs, tol=0, random_state=0
    )
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(images)
    return {
        "n_images": len(images),
        "n_clusters": n_clusters,
        "n_iter": int(estimator.n_iter_),
        "fit_s": time.perf_counter() - began,
    }


def exponent(rows: list[dict], key: str, time: str = "fit_s") -> float:
    """Slope of log(time) against log(size): one is linear, less is better."""
    sizes = np.log([row[key] for row in rows])
    return float(np.polyfit(sizes, np.log([row[time] for row in rows]), 1)[0])


def blobs(n_points: int, box: float) -> NDArray:
    """Gaussian blobs (n, 784) around centers in a box, scaled to [0, 1]."""
    found, _ = make_blobs(
        n_points, SIDE**2, centers=10, center_box=(-box, box), random_state=0
    )
    return ((found - found.min()) / np.ptp(found)).astype(np.float32)


def against_minibatch(points: NDArray, repeats: int) -> dict:
    """Median times of k-means, ours and scikit-learn's MiniBatchKMeans, in turn."""
    times: dict[str, list[float]] = {"ours_s": [], "minibatch_s": []}
    inertia: dict[str, list[float]] = {"ours": [], "minibatch": []}
    for seed in range(-1, repeats):
        for name, estimator in (
            ("ours", SpriteClustering(10, transformations=())),
            ("minibatch", MiniBatchKMeans(10)),
        ):
            estimator.set_params(random_state=max(seed, 0))
            began = time.perf_counter()
            estimator.fit(points)
            if seed >= 0:  # the first turn warms up
                times[f"{name}_s"].append(time.perf_counter() - began)
                inertia[name].append(float(estimator.inertia_))
    found = {name: float(np.median(values)) for name, values in times.items()}
    found["ratio"] = found["ours_s"] / found["minibatch_s"]
    found["inertia_ratio"] = float(
        np.mean(inertia["ours"]) / np.mean(inertia["minibatch"])
    )
    return found


def panel(axis, what: str, sizes: list[int], seconds: list[float]) -> None:
    """Times on logarithmic axes, with a straight line for what is linear."""
    axis.loglog(sizes, seconds, "o-", color="C0", label="measured")
    linear = [seconds[-1] * size / sizes[-1] for size in sizes]
    axis.loglog(sizes, linear, "--", color="gray", label="linear")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axis.tick_params(axis="y", which="minor", labelleft=False)
    axis.margins(0.12, 0.2)
    for size, value in zip(sizes, seconds, strict=True):
        axis.annotate(f"{value:.1f}", (size, value), (0, 6), textcoords="offset points")
    axis.set_xlabel(f"number of {what}")
    axis.grid(alpha=0.3)


def plot(results: dict, path: Path) -> None:
    """Two panels: images and clusters."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 2, figsize=(8, 3.6), sharey=True, layout="constrained"
    )
    panels = (("images", "n_images"), ("clusters", "n_clusters"))
    for axis, (name, key) in zip(axes, panels, strict=True):
        rows = results[name]
        panel(axis, name, [r[key] for r in rows], [r["fit_s"] for r in rows])
        other = "n_clusters" if key == "n_images" else "n_images"
        fixed = "clusters" if key == "n_images" else "images"
        slope = results["exponents"][name]
        axis.set_title(f"{rows[0][other]:,} {fixed}: time ~ {name}^{slope:.2f}")
    axes[0].set_ylabel(f"seconds for {results['max_epochs']} epochs")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def measure(args: argparse.Namespace) -> dict:
    """All fits, one after the other."""
    most = args.images[-1]
    images = moving_digits(most)
    fit_seconds(images[:500], 10, 2)  # imports and caches
    by_images = [fit_seconds(images[:n], 10, args.epochs) for n in args.images]
    by_clusters = [fit_seconds(images, k, args.epochs) for k in args.clusters]
    exponents = {
        "images": exponent(by_images, "n_images"),
        "clusters": exponent(by_clusters, "n_clusters"),
    }
    sets = {name: blobs(args.points, box) for name, box in CENTER_BOXES.items()}
    sets["digits"] = moving_digits(args.points).reshape(args.points, -1)
    rng = np.random.default_rng(0)
    sets["noise"] = rng.random((args.points, SIDE**2), dtype=np.float32)
    kmeans = {
        name: against_minibatch(points, args.repeats) for name, points in sets.items()
    }
    return {
        "max_epochs": args.epochs,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())),
        "machine": platform.machine(),
        "images": by_images,
        "clusters": by_clusters,
        "exponents": exponents,
        "kmeans": kmeans,
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[2500, 5000, 10_000])
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 40, 160])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    args.images.sort()
    results = measure(args)
    text = json.dumps(results, indent=1)
    (args.folder / "scaling.json").write_text(text + "\n")
    plot(results, args.folder / "scaling.png")
    print(text)


if __name__ == "__main__":
    main()
