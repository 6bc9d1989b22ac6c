"""Scenes that are not the papers', decomposed with defaults.

    python docs/benchmarks/everyday.py --seeds 3

Letters in gray, one large letter, things in all directions in a slanted light, or light
ones on rippled water, stamps on a printed form, dark letters on pages of 144 x 144
pixels in a slanted light, and things of several sizes and colors on black: drawn here,
400 images to fit and 100 others to judge. Scores are those of `scenes.py`; `objects`
and `true_objects` are means per image, and `taken` is what "auto" stood for. One line
of JSON per fit is appended to `--output`, each from a process of its own; `--summary`
prints the table.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
from apart import run_apart
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

N_FIT, N_TEST = 400, 100
FINE = 4  # each pixel is drawn with so many squared
SETS = {
    "letters": {"n_sprites": 6, "n_layers": 4, "n_backgrounds": 1},
    "letters_many_layers": {
        "n_sprites": 3,
        "n_layers": 8,
        "n_backgrounds": 1,
        "transformations": ("translation",),
    },
    "large_letter": {"n_sprites": 4, "n_layers": 2, "n_backgrounds": 1},
    "slanted_light": {"n_sprites": 3, "n_layers": 6, "n_backgrounds": 1},
    "printed_form": {"n_sprites": 2, "n_layers": 4, "n_backgrounds": 1},
    "page": {"n_sprites": 6, "n_layers": 8, "n_backgrounds": 1},
    "ripples": {"n_sprites": 3, "n_layers": 5, "n_backgrounds": 1},
    "ripples_low_penalty": {
        "n_sprites": 3,
        "n_layers": 5,
        "n_backgrounds": 1,
        "penalty": 0.3072,
    },
    "on_black": {"n_sprites": 3, "n_layers": 4},
    "on_black_in_gray": {
        "n_sprites": 3,
        "n_layers": 4,
        "transformations": ("translation",),
        "color": "gain",
    },
}
SLANTED = ("slanted_light", "page")
SCORES = ("ari", "class_accuracy", "class_iou")


def letter(name: str, size: float) -> np.ndarray:
    """A letter in a square of twice its height, finely drawn."""
    side = round(2 * size * FINE)
    image = Image.new("L", (side, side))
    font = ImageFont.load_default(size=1.3 * size * FINE)
    middle = (side / 2, side / 2)
    ImageDraw.Draw(image).text(middle, name, 255, font, "mm", stroke_width=FINE // 2)
    return np.asarray(image) / 255


def shape(name: str, size: float) -> np.ndarray:
    """A grain, a bean or a lentil; a square; finely drawn."""
    half = np.arange(-size * FINE, size * FINE) + 0.5
    x, y = np.meshgrid(half / (size * FINE / 2), half / (size * FINE / 2))
    inside = {
        "grain": (x / 0.26) ** 2 + (y / 0.9) ** 2 < 1,
        "bean": ((x / 0.45) ** 2 + (y / 0.8) ** 2 < 1)
        & ((x - 0.45) ** 2 + y**2 > 0.3**2),
        "lentil": x**2 + y**2 < 0.5**2,
        "disc": x**2 + y**2 < 0.8**2,
        "square": np.maximum(abs(x), abs(y)) < 0.7,
    }
    return inside[name].astype(float)


def placed(mask: np.ndarray, side: int, x: float, y: float, angle: float, scale: float):
    """Opacity (side, side) of a mask with its middle at x and y."""
    c, s = np.cos(angle) / scale, np.sin(angle) / scale
    middle, x, y = len(mask) / 2, x * FINE, y * FINE
    matrix = (c, s, middle - c * x - s * y, -s, c, middle + s * x - c * y)
    image = Image.fromarray((255 * mask).astype(np.uint8))
    size = (side * FINE, side * FINE)
    fine = image.transform(size, Image.Transform.AFFINE, matrix, Image.BILINEAR)
    blocks = np.asarray(fine).reshape(side, FINE, side, FINE)
    return blocks.mean((1, 3)) / 255


def places(draws, n: int, side: int, margin: float, apart: float) -> list:
    """At most n random places, not too near to each other."""
    found = []
    for _ in range(200):
        place = draws.uniform(margin, side - margin, 2)
        if len(found) < n and all(np.hypot(*(place - p)) >= apart for p in found):
            found.append(place)
    return found


def form(side: int) -> np.ndarray:
    """A printed form: dark lines down and across."""
    ground = np.full((side, side, 3), 0.95)
    ground[6::12] = 0.35
    ground[:, 3::16] = 0.6
    return ground


def water(side: int, draws) -> np.ndarray:
    """Dark water, brighter or darker, with ripples and some light and shade."""
    color = np.array([0.11, 0.24, 0.36]) * draws.uniform(0.85, 1.2)
    ground = np.broadcast_to(color, (side, side, 3))
    for sizes in ((0.7, 2), (12, 12)):
        waves = gaussian_filter(draws.normal(size=(side, side)), sizes)
        tint = np.array([0.8, 1, 1.1]) * 0.016 / waves.std()
        ground = ground + waves[..., None] * tint
    return ground


def draw_scene(name: str, kinds: list, draws):
    """An image, its instances and its classes."""
    side, most, apart, margin, scale, turned = {
        "letters": (48, 4, 10.5, 8, (1, 1), False),
        "letters_many_layers": (32, 2, 7, 6, (1, 1), False),
        "large_letter": (48, 1, 0, 22, (0.8, 1.1), True),
        "slanted_light": (64, 6, 9, 4, (0.9, 1.1), True),
        "printed_form": (48, 4, 7, 6, (1, 1), False),
        "page": (144, 8, 27, 17, (1, 1), False),
        "ripples": (64, 5, 15, 8, (0.8, 1.2), True),
        "on_black": (64, 4, 14, 11, (0.7, 1.3), False),
    }[name]
    ground = np.zeros((side, side, 1))
    if name == "on_black":
        ground = np.zeros((side, side, 3))
    elif name == "large_letter":
        ground = np.full((side, side, 3), draws.uniform(0.75, 0.95))
    elif name == "printed_form":
        ground = form(side)
    elif name == "ripples":
        ground = water(side, draws)
    image = np.full_like(ground, 0.85) if name in SLANTED else ground
    instances, classes = np.zeros((2, side, side), np.int64)
    where = places(draws, draws.integers(1, most + 1), side, margin, apart)
    for number, (x, y) in enumerate(where, 1):
        k = draws.integers(len(kinds))
        angle = draws.uniform(-np.pi, np.pi) if turned else 0.0
        alpha = placed(kinds[k], side, x, y, angle, draws.uniform(*scale))
        color = draws.uniform(0.1, 0.7, image.shape[2])
        if name.startswith("letters"):
            color = np.ones(1)
        elif name in SLANTED:
            color = draws.uniform(0.1, 0.4, 1)
        elif name == "ripples":
            color = draws.uniform(0.65, 0.95) + draws.normal(0, 0.02, 3)
        elif name == "on_black":
            color = draws.uniform(0.2, 1, 3)
        image = image * (1 - alpha[..., None]) + alpha[..., None] * color
        instances[alpha > 0.5], classes[alpha > 0.5] = number, k + 1
    noise = 0.01
    if name in SLANTED:
        way, noise = draws.uniform(0, 2 * np.pi), 0.03
        y, x = np.mgrid[:side, :side] / side - 0.5
        image = image * (1 + 0.15 * (np.cos(way) * x + np.sin(way) * y))[..., None]
    if not name.startswith("letters"):
        image = image + draws.normal(0, noise, image.shape)
    return (255 * image.clip(0, 1)).round().astype(np.uint8), instances, classes


def make(name: str, seed: int):
    """Images, instances and classes of a set."""
    name = name.removesuffix("_low_penalty").removesuffix("_in_gray")
    kinds = {
        "letters": [letter(c, 13) for c in "ABEKRS"],
        "letters_many_layers": [letter(c, 9) for c in "ABE"],
        "large_letter": [letter(c, 30) for c in "ABEK"],
        "slanted_light": [shape(c, 16) for c in ("grain", "bean", "lentil")],
        "ripples": [shape(c, 16) for c in ("grain", "bean", "lentil")],
        "printed_form": [shape(c, 12) for c in ("disc", "square")],
        "page": [letter(c, 30) for c in "ABEKRS"],
        "on_black": [shape(c, 16) for c in ("bean", "disc", "square")],
    }[name]
    draws = np.random.default_rng(seed)
    scenes = [draw_scene(name, kinds, draws) for _ in range(N_FIT + N_TEST)]
    return tuple(np.stack(part) for part in zip(*scenes, strict=True))


def run_one(name: str, seed: int) -> dict:
    """Fit once; what came out."""
    from sklearn_sprites import LayeredSpriteDecomposition, metrics

    images, instances, classes = make(name, seed)
    model = LayeredSpriteDecomposition(**SETS[name], random_state=seed)
    began = time.perf_counter()
    model.fit(images[:N_FIT])
    fitted = time.perf_counter()
    found = model.decompose(images[N_FIT:])
    true, shown = instances[N_FIT:], model.render(found, "classes")
    rand = metrics.segmentation_adjusted_rand_score
    return {
        "set": name,
        "seed": seed,
        "ari": float(rand(true, model.render(found, "instances"))),
        "class_accuracy": float(metrics.mean_class_accuracy(classes[N_FIT:], shown)),
        "class_iou": float(metrics.mean_iou(classes[N_FIT:], shown)),
        "objects": float(found.n_objects.mean()),
        "true_objects": float(np.mean([len(np.unique(one)) - 1 for one in true])),
        "fit_s": fitted - began,
        "taken": model.resolved_params_,
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())),
        "machine": platform.machine(),
    }


def summary(path: Path) -> str:
    """A Markdown table: mean and, in brackets, the lowest of the seeds."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| set | seeds | ARI | mAcc | mIoU | objects | true | fit, s |",
        "|---" * 8 + "|",
    ]
    for name in SETS:
        mine = list({r["seed"]: r for r in rows if r["set"] == name}.values())
        if not mine:
            continue
        value = {key: np.array([r[key] for r in mine]) for key in SCORES}
        cells = [name, str(len(mine))]
        cells += [f"{value[s].mean():.3f} ({value[s].min():.3f})" for s in SCORES]
        keys = ("objects", "true_objects")
        cells += [f"{np.mean([r[key] for r in mine]):.2f}" for key in keys]
        cells += [f"{np.mean([r['fit_s'] for r in mine]):.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=tuple(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--one", action="store_true")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("everyday.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        sys.stdout.write(summary(args.output) + "\n")
    elif args.one:
        row = run_one(args.sets[0], args.first_seed)
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for name in args.sets:
                arguments = ["--one", "--sets", name, "--first-seed", str(seed)]
                run_apart(arguments, args.output)


if __name__ == "__main__":
    main()
