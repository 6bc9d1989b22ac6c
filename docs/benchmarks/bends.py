"""What affine layers, splines and backgrounds that move are worth to a regression.

Two letters per image of 28 x 28, on black or over a picture, whose layers or whose
background are bent or moved as one of the experiments says. The same network learns
with the transformations that made the images, and without; printed is the squared error
of the drawings of new images, and the time of the fit.

    python docs/benchmarks/bends.py --seeds 2
"""

import argparse
import time
import warnings

import numpy as np
import torch

from sklearn_sprites import LayeredSpriteDecomposition, Regression
from sklearn_sprites._engine.modules.ground_head import GroundPose
from sklearn_sprites._engine.search.splines import place_bent
from sklearn_sprites._engine.training.moved_ground import moved_ground

SIDE, FRAME, N, NEW, EPOCHS = 28, 16, 400, 200, 40
SPLINE = "thin_plate_spline"
EXPERIMENTS = {
    "affine": {
        "without": {"transformations": ("similarity",)},
        "at once": {"transformations": ("affine",), "joins": 0},
        "with": {"transformations": ("affine",)},
    },
    "spline": {
        "without": {"transformations": ("translation",)},
        "at once": {"transformations": ("translation", SPLINE), "joins": 0},
        "with": {"transformations": ("translation", SPLINE)},
    },
    "background": {
        "without": {},
        "at once": {"background_transformations": ("translation",), "joins": 0},
        "with": {"background_transformations": ("translation",)},
    },
}


def letters() -> torch.Tensor:
    """An F and a T with soft edges, (2, 1, 14, 14)."""
    steps = (torch.arange(14.0) - 6.5) / 7
    y, x = torch.meshgrid(steps, steps, indexing="ij")

    def bar(left: float, right: float, top: float, bottom: float) -> torch.Tensor:
        inside = torch.stack([x - left, right - x, y - top, bottom - y]).amin(0)
        return (0.5 + 5 * inside).clamp(0, 1)

    f = [bar(-0.7, -0.3, -0.8, 0.8), bar(-0.7, 0.7, -0.8, -0.4)]
    f.append(bar(-0.7, 0.4, -0.1, 0.3))
    t = [bar(-0.8, 0.8, -0.8, -0.4), bar(-0.2, 0.2, -0.8, 0.8)]
    return torch.stack([torch.stack(each).amax(0) for each in (f, t)])[:, None]


def scenes(name: str, seed: int) -> np.ndarray:
    """Images (N + NEW, 28, 28, 3), the first of them to learn from."""
    n, make = N + NEW, torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(shape, generator=make) - 1

    pose = torch.zeros(n, 2, 6)
    pose[..., 0] = torch.tensor([7.5, 20.5]) + noise(n, 2)
    pose[..., 1] = SIDE / 2 + 6 * noise(n, 2)
    if name == "affine":
        pose[..., 4:] = noise(n, 2, 2) * torch.tensor([0.3, 0.4])
    spline = torch.zeros(n, 2, 16, 2)
    if name == "spline":
        spline = 0.13 * torch.randn(spline.shape, generator=make)
    images = torch.zeros(n, 3, SIDE, SIDE)
    if name == "background":
        coarse = torch.rand(1, 3, 7, 7, generator=make)
        picture = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")
        where = torch.zeros(n, 4)
        where[:, :2] = SIDE / 2 + 3 * noise(n, 2)
        still = torch.zeros(n, 0, 2)
        images = moved_ground(0.6 * picture.clamp(0, 1), GroundPose(where, still))
    sprite = torch.randint(2, (n, 2), generator=make)
    alpha = place_bent(letters(), sprite, pose, spline, SIDE, SIDE)
    color = 0.75 + 0.25 * noise(n, 2, 3)
    for i in range(2):
        shown = color[:, i, :, None, None]
        images = images * (1 - alpha[:, i]) + alpha[:, i] * shown
    return images.permute(0, 2, 3, 1).numpy()


def measured(name: str, way: str, seed: int) -> tuple[float, float]:
    """Mean squared error of new images, summed over an image, and seconds of a fit."""
    images, params = scenes(name, seed), dict(EXPERIMENTS[name][way])
    localizer = Regression(
        joins=params.pop("joins", None),
        background="mean" if name == "background" else None,
        batch_size=16,
        stops=False,
    )
    if name == "background":
        params.update(n_backgrounds=1, background="image")
    model = LayeredSpriteDecomposition(
        2,
        n_layers=2,
        sprite_size=FRAME,
        localizer=localizer,
        max_rounds=EPOCHS,
        random_state=seed,
        **params,
    )
    start = time.process_time()
    model.fit(images[:N])
    seconds = time.process_time() - start
    return -model.score(images[N:]) / NEW, seconds


def main() -> None:
    """Print a row for each experiment, way and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in chosen.experiments:
        for seed in range(chosen.seeds):
            for way in EXPERIMENTS[name]:
                error, seconds = measured(name, way, seed)
                print(f"{name:10} {way:8} {seed} {error:8.2f} {seconds:6.0f} s")


if __name__ == "__main__":
    main()
