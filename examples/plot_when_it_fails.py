"""
When it fails
=============

What the usual mistakes look like: too few or too many sprites, a frame of the wrong
size, too few layers, a penalty that is too large, poses that are not allowed, a ground
that is not black. Each row has one of them; the user guide says what to do.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from sklearn_sprites import LayeredSpriteDecomposition

# %%
# Scenes of disks, crosses and hooks of any color, up to three, each fully visible.

SIDE, SIZE, KINDS = 32, 9, 3
COLORS = np.array([[230, 60, 50], [60, 190, 70], [70, 110, 240], [240, 200, 60]])


def masks(size):
    """A disk, a cross and a hook, (3, size, size)."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    disk = x**2 + y**2 < 1
    cross = (np.abs(x) < 0.3) | (np.abs(y) < 0.3)
    hook = (x < -0.35) | (y > 0.35)
    return np.stack([disk, cross, hook])


def make_scenes(n, sizes=(SIZE,), ground=0, seed=0):
    """Images (n, SIDE, SIDE, 3) and how many objects each shows."""
    rng = np.random.default_rng(seed)
    shapes = {size: masks(size) for size in sizes}
    images = np.full((n, SIDE, SIDE, 3), ground, np.uint8)
    counts = np.zeros(n, int)
    for i in range(n):
        taken = np.zeros((SIDE, SIDE), bool)
        for _ in range(rng.integers(1, 4)):
            size = int(rng.choice(sizes))
            top, left = rng.integers(1, SIDE - size, 2)
            part = (i, slice(top, top + size), slice(left, left + size))
            if not taken[part[1:]].any():
                mask = shapes[size][rng.integers(KINDS)]
                images[part][mask] = COLORS[rng.integers(len(COLORS))]
                taken[part[1:]] = True
                counts[i] += 1
    return images, counts


X, counts = make_scenes(60)
several_sizes, _ = make_scenes(60, sizes=(5, 10))
on_gray, _ = make_scenes(60, ground=120)

# %%
# One fit as it should be, and one for each mistake. Some of them end with a warning,
# which says what to do; here we know.

RIGHT = {"n_sprites": KINDS, "n_layers": 3, "sprite_size": 13}
CASES = {
    "as it should be": (X, {}),
    "n_sprites=2: a blend": (X, {"n_sprites": 2}),
    "n_sprites=5: a kind twice": (X, {"n_sprites": 5}),
    "sprite_size=6: cut off": (X, {"sprite_size": 6}),
    "n_layers=1: some left out": (X, {"n_layers": 1}),
    "penalty=15: small ones missing": (several_sizes, {"n_sprites": 6, "penalty": 15}),
    "n_sprites=3, but sizes vary": (several_sizes, {}),
    "gray ground, n_backgrounds=0": (on_gray, {}),
}
warnings.simplefilter("ignore")
models = {}
for name, (images, mistake) in CASES.items():
    models[name] = LayeredSpriteDecomposition(
        **{**RIGHT, **mistake}, random_state=0
    ).fit(images)
    error = -models[name].score(images) / images.size
    print(f"{name}: mean squared error {error:.0f}")

# %%
# An image, what the model makes of it, its layers as a map, and the sprites.

shown = int(np.flatnonzero(counts == 3)[0])
figure, axes = plt.subplots(len(CASES), 4, figsize=(7, 1.75 * len(CASES)))
for row, (name, (images, _)) in zip(axes, CASES.items(), strict=True):
    model, image = models[name], images[shown : shown + 1]
    sprites = np.concatenate(list(model.sprites_[:6, ..., -1]), axis=1)
    row[0].imshow(image[0])
    row[1].imshow(model.reconstruct(image)[0].clip(0, 255).astype(np.uint8))
    row[2].imshow(model.predict(image)[0], vmin=0, vmax=4, cmap="viridis")
    row[3].imshow(sprites, vmin=0, vmax=1, cmap="gray")
    row[0].set_title(name, loc="left", fontsize=9)
for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
for axis, title in zip(
    axes[-1], ("image", "drawn again", "instances", "sprites' masks"), strict=True
):
    axis.set_xlabel(title)
figure.tight_layout()
