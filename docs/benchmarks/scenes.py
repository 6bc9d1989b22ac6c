"""Accuracy, time and memory of LayeredSpriteDecomposition with its defaults.

    python docs/benchmarks/scenes.py --sets tetrominoes multi_dsprites --seeds 5

Images are made by the package; the seed decides both them and the fit. Scores are those
of the papers, on images that were not fitted: adjusted Rand index of instances with and
without background, and mean accuracy and IoU of classes after matching. One line of
JSON per fit is appended to `--output`, each from a process of its own; `--summary`
prints the table.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SETS = {
    "tetrominoes": {"n_sprites": 19, "n_layers": 3},
    "multi_dsprites": {"n_sprites": 3, "n_layers": 5, "n_backgrounds": 1},
}
TARGETS = {
    "tetrominoes": (0.998, 0.998, 0.997, 0.995, 60),
    "multi_dsprites": (0.96, 0.93, 0.915, 0.85, 300),
}
SCORES = ("ari", "ari_foreground", "class_accuracy", "class_iou")
N_TEST = 320


def scores(model, scenes) -> dict[str, float]:
    """The papers' four measures."""
    from sklearn_sprites import metrics

    found = model.decompose(scenes.images)
    instances = model.render(found, "instances")
    classes = model.render(found, "classes")
    rand = metrics.segmentation_adjusted_rand_score
    return {
        "ari": float(rand(scenes.instances, instances)),
        "ari_foreground": float(rand(scenes.instances, instances, background=False)),
        "class_accuracy": float(metrics.mean_class_accuracy(scenes.classes, classes)),
        "class_iou": float(metrics.mean_iou(scenes.classes, classes)),
    }


def run_one(name: str, seed: int, n_images: int) -> dict:
    """Fit once; what came out."""
    from sklearn_sprites import LayeredSpriteDecomposition, datasets

    scenes = getattr(datasets, f"make_{name}")(n_images + N_TEST, random_state=seed)
    test = type(scenes)(
        images=scenes.images[n_images:],
        instances=scenes.instances[n_images:],
        classes=scenes.classes[n_images:],
    )
    model = LayeredSpriteDecomposition(**SETS[name], random_state=seed)
    began, busy = time.perf_counter(), time.process_time()
    model.fit(scenes.images[:n_images])
    fitted, busy = time.perf_counter(), time.process_time() - busy
    model.decompose(test.images)
    predicted = time.perf_counter()
    return {
        "set": name,
        "seed": seed,
        "n_images": n_images,
        **scores(model, test),
        "fit_s": fitted - began,
        "fit_cpu_s": busy,  # of all threads; other processes hardly change it
        "predict_images_per_s": N_TEST / (predicted - fitted),
        "n_iter": int(model.n_iter_),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())),
        "machine": platform.machine(),
    }


def run_all(args: argparse.Namespace) -> None:
    """Fits in processes of their own, one after the other."""
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.sets:
            command = [sys.executable, __file__, "--one", "--sets", name]
            command += ["--first-seed", str(seed), "--images", str(args.images)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.stderr.write(done.stderr)
                raise SystemExit(f"{name} with seed {seed} failed")
            with args.output.open("a") as file:
                file.write(done.stdout)
            sys.stdout.write(done.stdout)
            sys.stdout.flush()


def summary(path: Path) -> str:
    """A Markdown table: mean and, in brackets, the lowest of the seeds."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| set | seeds | ARI | ARI-FG | mAcc | mIoU | fit, s | of one core, s "
        "| predict, images/s | peak MB |",
        "|---" * 10 + "|",
    ]
    for name in SETS:
        mine = list({r["seed"]: r for r in rows if r["set"] == name}.values())
        if not mine:
            continue
        value = {key: np.array([r[key] for r in mine]) for key in mine[0]}
        cells = [name, str(len(mine))]
        cells += [f"{value[s].mean():.3f} ({value[s].min():.3f})" for s in SCORES]
        cells += [f"{value[key].mean():.0f}" for key in ("fit_s", "fit_cpu_s")]
        cells += [f"{value['predict_images_per_s'].mean():.0f}"]
        cells += [f"{value['peak_mb'].max():.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
        target = " | ".join(f"{t:g}" for t in TARGETS[name])
        lines.append(f"| target | | {target} | | | |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--one", action="store_true")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("scenes.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        sys.stdout.write(summary(args.output) + "\n")
    elif args.one:
        row = run_one(args.sets[0], args.first_seed, args.images)
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        run_all(args)


if __name__ == "__main__":
    main()
