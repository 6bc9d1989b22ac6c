"""Accuracy, time and memory of LayeredSpriteDecomposition with its defaults.

    python docs/benchmarks/scenes.py --sets tetrominoes multi_dsprites --seeds 5

Images are made by the package; the seed decides both them and the fit. The set `clevr`
and `clevr_12`, with 12 sprites for its 6 classes, are read from an archive, `--clevr
PATH`: arrays `webp` and `offsets` (one WebP file per
image, one after the other), `instances` and `classes` (n, 128, 128); the seed decides
which images are fitted. Scores are those
of the papers, on images that were not fitted: adjusted Rand index of instances with and
without background, and mean accuracy and IoU of classes after matching: one sprite
per class, and (`..._many`) each sprite with the class that it shows most. One line of
JSON per fit is appended to `--output`, each from a process of its own; `--summary`
prints the table.
"""

import argparse
import io
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np
from apart import run_apart

SETS = {
    "tetrominoes": {"n_sprites": 19, "n_layers": 3},
    "multi_dsprites": {"n_sprites": 3, "n_layers": 5, "n_backgrounds": 1},
    "shaded_scenes": {"n_sprites": 6, "n_layers": 6, "n_backgrounds": 1},
    "clevr": {"n_sprites": 6, "n_layers": 10, "n_backgrounds": 1},
    "clevr_12": {"n_sprites": 12, "n_layers": 10, "n_backgrounds": 1},
}
USUAL = ("tetrominoes", "multi_dsprites")
TARGETS = {
    "tetrominoes": (0.998, 0.998, 0.997, 0.995, 60),
    "multi_dsprites": (0.96, 0.93, 0.915, 0.85, 300),
    "clevr": (0.91, 0.97, 0.74, 0.57, 1800),
    "clevr_12": (0.91, 0.97, 0.74, 0.57, 1800),
}
MANY = "many-to-one"
SCORES = ("ari", "ari_foreground", "class_accuracy", "class_iou")
N_TEST = {
    "tetrominoes": 320,
    "multi_dsprites": 320,
    "shaded_scenes": 160,
    "clevr": 160,
    "clevr_12": 160,
}


def scores(model, scenes, found) -> dict[str, float]:
    """The papers' four measures, and those that know several sprites per class."""
    from sklearn_sprites import metrics

    instances = model.render(found, "instances")
    classes = model.render(found, "classes")
    rand = metrics.segmentation_adjusted_rand_score
    return {
        "ari": float(rand(scenes.instances, instances)),
        "ari_foreground": float(rand(scenes.instances, instances, background=False)),
        "class_accuracy": float(metrics.mean_class_accuracy(scenes.classes, classes)),
        "class_iou": float(metrics.mean_iou(scenes.classes, classes)),
        "class_accuracy_many": float(
            metrics.mean_class_accuracy(scenes.classes, classes, matching=MANY)
        ),
        "class_iou_many": float(
            metrics.mean_iou(scenes.classes, classes, matching=MANY)
        ),
        "ari_foreground_filled": filled_rand(model, scenes, instances, found),
    }


def filled_rand(model, scenes, instances, found) -> float:
    """ARI-FG with the papers' rule: background goes to the layer of nearest color.

    A layer's colors are those of its sprite as placed, without its mask, and black
    beyond.
    """
    from sklearn_sprites import metrics

    ratios = []
    for i in range(len(instances)):
        one, colors = slice(i, i + 1), model.render(found[i : i + 1], "layers")
        full = metrics.fill_background(instances[one], scenes.images[one], colors)
        ratios.append(
            metrics.segmentation_adjusted_rand_score(
                scenes.instances[one], full, background=False
            )
        )
    return float(np.mean(ratios))


def read_clevr(path: Path, n: int, seed: int):
    """Some of the archive's images, in an order that the seed decides."""
    from PIL import Image
    from sklearn.utils import Bunch

    with np.load(path) as archive:
        data, ends = archive["webp"].tobytes(), archive["offsets"]
        total = len(ends) - 1
        chosen = np.random.RandomState(seed).permutation(total)[:n]
        files = [io.BytesIO(data[ends[i] : ends[i + 1]]) for i in chosen]
        return Bunch(
            images=np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files]),
            instances=archive["instances"][chosen],
            classes=archive["classes"][chosen],
        )


def load(name: str, seed: int, n_images: int, n_test: int, archive: Path | None):
    """A set: scenes to fit, at most `n_images`, and others to score."""
    from sklearn_sprites import datasets

    if name.startswith("clevr"):
        if archive is None:
            raise SystemExit("the set clevr needs --clevr PATH")
        scenes = read_clevr(archive, n_images + n_test, seed)
        n_images = len(scenes.images) - n_test
    else:
        make = getattr(datasets, f"make_{name}")
        scenes = make(n_images + n_test, random_state=seed)
    kept = ("images", "instances", "classes")
    return (
        type(scenes)(**{key: scenes[key][some] for key in kept})
        for some in (slice(n_images), slice(n_images, None))
    )


def run_one(name: str, seed: int, n_images: int, archive: Path | None) -> dict:
    """Fit once; what came out."""
    from sklearn_sprites import LayeredSpriteDecomposition

    scenes, test = load(name, seed, n_images, N_TEST[name], archive)
    n_images = len(scenes.images)
    model = LayeredSpriteDecomposition(**SETS[name], random_state=seed)
    began, busy = time.perf_counter(), time.process_time()
    model.fit(scenes.images)
    fitted, spent = time.perf_counter(), time.process_time()
    found = model.decompose(test.images)
    predicted, looked = time.perf_counter(), time.process_time() - spent
    return {
        "set": name,
        "seed": seed,
        "n_images": n_images,
        **scores(model, test, found),
        "fit_s": fitted - began,
        "fit_cpu_s": spent - busy,  # of all threads
        "predict_images_per_s": N_TEST[name] / (predicted - fitted),
        "predict_images_per_cpu_s": N_TEST[name] / looked,
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
            arguments = ["--one", "--sets", name]
            arguments += ["--first-seed", str(seed), "--images", str(args.images)]
            arguments += ["--clevr", str(args.clevr)] if args.clevr else []
            run_apart(arguments, args.output)


def summary(path: Path) -> str:
    """A Markdown table: mean and, in brackets, the lowest of the seeds."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| set | seeds | ARI | ARI-FG | mAcc | mIoU | fit, s | of one core, s "
        "| predict, images/s | per s of one core | peak MB |",
        "|---" * 11 + "|",
    ]
    for name in SETS:
        mine = list({r["seed"]: r for r in rows if r["set"] == name}.values())
        if not mine:
            continue
        keys = set().union(*mine)
        value = {key: np.array([r.get(key, np.nan) for r in mine]) for key in keys}
        cells = [name, str(len(mine))]
        cells += [f"{value[s].mean():.3f} ({value[s].min():.3f})" for s in SCORES]
        cells += [f"{value[key].mean():.0f}" for key in ("fit_s", "fit_cpu_s")]
        rates = ("predict_images_per_s", "predict_images_per_cpu_s")
        cells += [f"{value[key].mean():.0f}" for key in rates if key in keys]
        cells += ["" for key in rates if key not in keys]
        cells += [f"{value['peak_mb'].max():.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
        if name in TARGETS:
            target = " | ".join(f"{t:g}" for t in TARGETS[name])
            lines.append(f"| target | | {target} | | | | |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=USUAL)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--clevr", type=Path, help="archive of the set clevr")
    parser.add_argument("--one", action="store_true")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("scenes.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        sys.stdout.write(summary(args.output) + "\n")
    elif args.one:
        row = run_one(args.sets[0], args.first_seed, args.images, args.clevr)
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        run_all(args)


if __name__ == "__main__":
    main()
