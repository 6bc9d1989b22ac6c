"""Ways to decompose scenes, in equal time: who finds layers, who learns sprites.

    python docs/benchmarks/ways.py --seconds 60 --seeds 3

Small Tetrominoes: two pieces of 19 kinds on black, in cells of 3 pixels. Every fit gets
the same time of one processor, after which its round or epoch is the last; the seed
decides images and fit. Scores are those of the papers, on images that were not fitted.
One line of JSON per fit is appended to `--output`, each from a process of its own;
`--summary` prints the table.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from apart import Budget, run_apart
from scenes import SCORES, scores

IMAGES = {"n_objects": 2, "size": 20, "cell": 3}
MODEL = {"n_sprites": 19, "n_layers": 2, "max_rounds": 10_000}
N_TEST = 320


def ways() -> dict[str, dict]:
    """Name -> parameters."""
    from sklearn_sprites import ClonePerturb, ConstantSprites, Regression

    papers = Regression(
        color="predict",
        empty=False,
        sweeps=1,
        reassignment=ClonePerturb(check=50),
        stops=False,
    )
    return {
        "search, sprites in closed form": {},
        "search, sprites by gradient": {"sprite_update": "gradient"},
        "distilled": {"localizer": "distilled"},
        "attention": {"localizer": "attention"},
        "regression, with clones": {"localizer": Regression(empty=False, stops=False)},
        "regression, without": {
            "localizer": Regression(empty=False, stops=False, reassignment=None)
        },
        "regression, the papers' way": {
            "localizer": papers,
            "init": ConstantSprites(0.9, 3.0),
            "transformations": ("translation", "scale"),
            "order": "depth",
        },
    }


def run_one(name: str, seed: int, seconds: float, n_images: int) -> dict:
    """Fit once; what came out."""
    from sklearn_sprites import LayeredSpriteDecomposition
    from sklearn_sprites.datasets import make_tetrominoes

    scenes = make_tetrominoes(n_images + N_TEST, random_state=seed, **IMAGES)
    X, test = scenes.images[:n_images], slice(n_images, None)
    model = LayeredSpriteDecomposition(**{**MODEL, **ways()[name]}, random_state=seed)
    began = time.process_time()
    model.set_callbacks(Budget(seconds)).fit(X)
    fitted = time.process_time()
    found = model.decompose(scenes.images[test])
    predicted = time.process_time()
    shown = type(scenes)(
        images=scenes.images[test],
        instances=scenes.instances[test],
        classes=scenes.classes[test],
    )
    return {
        "way": name,
        "seed": seed,
        "n_images": n_images,
        **scores(model, shown, found),
        "fit_cpu_s": fitted - began,
        "predict_images_per_s": N_TEST / (predicted - fitted),
        "n_iter": int(model.n_iter_),
    }


def run_all(args: argparse.Namespace) -> None:
    """Fits in processes of their own, with one thread, one after the other."""
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in ways():
            arguments = ["--one", name]
            arguments += ["--first-seed", str(seed), "--images", str(args.images)]
            arguments += ["--seconds", str(args.seconds)]
            run_apart(arguments, args.output, OMP_NUM_THREADS="1")


def summary(path: Path) -> str:
    """A Markdown table of means."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| way | seeds | ARI | ARI-FG | mAcc | mIoU | fit, s of one core | rounds "
        "or epochs | predict, images/s |",
        "|---" * 9 + "|",
    ]
    for name in ways():
        mine = list({r["seed"]: r for r in rows if r["way"] == name}.values())
        if not mine:
            continue
        value = {key: np.array([r[key] for r in mine]) for key in mine[0]}
        cells = [name, str(len(mine))]
        cells += [f"{value[score].mean():.3f}" for score in SCORES]
        cells += [f"{value['fit_cpu_s'].mean():.0f}", f"{value['n_iter'].mean():.0f}"]
        cells += [f"{value['predict_images_per_s'].mean():.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--one", choices=list(ways()))
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("ways.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        sys.stdout.write(summary(args.output) + "\n")
    elif args.one:
        row = run_one(args.one, args.first_seed, args.seconds, args.images)
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        run_all(args)


if __name__ == "__main__":
    main()
