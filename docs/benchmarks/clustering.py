"""Accuracy, time and memory of SpriteClustering with its defaults, and of KMeans.

    python docs/benchmarks/clustering.py FOLDER --sets mnist usps --seeds 5

FOLDER holds the archives named in recipes.py; digits need none. One line of JSON per
fit is appended to `--output`, each from a process of its own, so that time and memory
are those of one fit; `--summary` prints the table.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np
from apart import run_apart
from recipes import ANEW, LARGE, SEED, SETS, load

OPTIONS = {
    "gtsrb8": {"n_clusters": 8, "n_backgrounds": 1},
    "parts": {"n_clusters": 5},
    "badges": {"n_clusters": 8},
    "lit": {"n_clusters": 8},
    "belt": {"n_clusters": 5, "n_backgrounds": 1},
    "shields": {"n_clusters": 8, "n_backgrounds": 1},
    "crowded_center": {"n_clusters": 10, "pixel_weights": "center"},
}
SIZE_POWERS = {"uneven_rare": 0.25}  # of the rule that swaps sprites
TARGETS = {
    "digits": (0.94, 15),
    "mnist": (0.970, 90),
    "usps": (0.975, 60),
    "color": (0.96, 240),
    "affine": (0.95, 300),
    "gtsrb8": (0.88, 600),
}


def scores(labels, truth) -> dict[str, float]:
    """Accuracy after Hungarian matching, NMI and ARI."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    from sklearn_sprites.metrics import clustering_accuracy

    return {
        "accuracy": float(clustering_accuracy(truth, labels)),
        "nmi": float(normalized_mutual_info_score(truth, labels)),
        "ari": float(adjusted_rand_score(truth, labels)),
    }


def run_one(name: str, seed: int, folder: Path, model: str) -> dict:
    """Fit once; what came out."""
    images, truth = load(name, folder, seed if name in ANEW else SEED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = OPTIONS.get(name, {"n_clusters": 10})
    asked = time.perf_counter()
    if model == "kmeans":
        from sklearn.cluster import KMeans

        flat = images.reshape(len(images), -1) / images.max()
        estimator = KMeans(options["n_clusters"], n_init=1, random_state=seed)
    else:
        import torch  # noqa: F401, the first fit of a process would import it

        from sklearn_sprites import SpriteClustering, Swap

        flat = images
        if name in SIZE_POWERS:
            options = options | {"reassignment": Swap(size_power=SIZE_POWERS[name])}
        estimator = SpriteClustering(**options, random_state=seed)
    began, busy = time.perf_counter(), time.process_time()
    estimator.fit(flat)
    fitted, busy = time.perf_counter(), time.process_time() - busy
    labels = estimator.predict(flat)
    predicted = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "set": name,
        "model": model,
        "seed": seed,
        **scores(labels, truth),
        "import_s": began - asked,
        "fit_s": fitted - began,
        "fit_cpu_s": busy,  # of all threads; other processes hardly change it
        "predict_images_per_s": len(images) / (predicted - fitted),
        "n_iter": int(estimator.n_iter_),
        "peak_mb": peak / 1024,
        "data_mb": before / 1024,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())),
        "machine": platform.machine(),
    }


def run_all(args: argparse.Namespace) -> None:
    """Fits in processes of their own, one after the other."""
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.sets:
            for model in args.models:
                arguments = [str(args.folder), "--one", model]
                arguments += ["--sets", name, "--first-seed", str(seed)]
                run_apart(arguments, args.output)


def summary(path: Path) -> str:
    """A Markdown table of means over seeds.

    Processor time is that of all threads together; fits that had all cores, if there
    are any, tell the time on the clock.
    """
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    head = "| set | model | seeds | accuracy (mean, lowest, std) | NMI | ARI "
    head += "| fit, s of one core | fit, s | predict, images/s | peak MB | target |"
    lines = [head, "|---" * 11 + "|"]
    for name in (*SETS, *LARGE):
        for model in ("sprites", "kmeans"):
            mine = [r for r in rows if r["set"] == name and r["model"] == model]
            if not mine:
                continue
            keys = [key for key in mine[0] if isinstance(mine[0][key], float)]
            timed = [r["fit_s"] for r in mine if r["threads"] == r["cores"]]
            mine = [r for r in mine if r["threads"] == 1] or mine
            value = {key: np.array([r[key] for r in mine]) for key in keys}
            accuracy = np.array([r["accuracy"] for r in mine])
            has_target = model == "sprites" and name in TARGETS
            cells = [
                name,
                model,
                str(len(mine)),
                f"{accuracy.mean():.4f}, {accuracy.min():.4f}, {accuracy.std():.4f}",
                f"{value['nmi'].mean():.3f}",
                f"{value['ari'].mean():.3f}",
                f"{value['fit_cpu_s'].mean():.1f}",
                f"{np.mean(timed):.1f}" if timed else "",
                f"{value['predict_images_per_s'].mean():.0f}",
                f"{value['peak_mb'].max():.0f}",
                "{:.3f} in {} s".format(*TARGETS[name]) if has_target else "",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    every = (*SETS, *LARGE)
    parser.add_argument("--sets", nargs="+", choices=every, default=list(SETS))
    parser.add_argument("--models", nargs="+", default=["sprites", "kmeans"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--one", choices=["sprites", "kmeans"])
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("clustering.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        sys.stdout.write(summary(args.output) + "\n")
    elif args.one:
        row = run_one(args.sets[0], args.first_seed, args.folder, args.one)
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        run_all(args)


if __name__ == "__main__":
    main()
