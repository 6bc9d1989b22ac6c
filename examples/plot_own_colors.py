"""
Things in their own colors
==========================

Pieces of a game, icons, cards and stickers look the same wherever they are: each kind
has several colors of its own, and no image changes them. ``color="own"`` looks for just
that. Layers are only shifted, so the best sprite, place and depth of all is found
exactly.

``python plot_own_colors.py FOLDER [N_SPRITES [N_LAYERS]]`` decomposes the pictures in a
folder of yours. Without one, a folder of pictures is made first.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw

from sklearn_sprites import DecompositionDisplay, LayeredSpriteDecomposition
from sklearn_sprites.datasets import load_image_folder
from sklearn_sprites.metrics import (
    mean_class_accuracy,
    segmentation_adjusted_rand_score,
)

SIDE, TIMES = 40, 8  # pixels of an image; drawn larger, for soft edges


def fruit(kind):
    """A fruit of 14 x 14 pixels, in color and opacity."""
    image = Image.new("RGBA", (14 * TIMES, 14 * TIMES))
    draw = ImageDraw.Draw(image)

    def spot(x, y, w, h, color):
        box = [TIMES * v for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]
        draw.ellipse(box, fill=color)

    if kind == "plum":
        spot(7, 8, 9, 10, "#6a2c8f")
        spot(5.5, 6.5, 2, 3, "#b48ad0")
        spot(9, 2.5, 5, 2.5, "#4f9a3a")
    if kind == "peach":  # the same shapes as a plum
        spot(7, 8, 9, 10, "#f29a4a")
        spot(5.5, 6.5, 2, 3, "#fbe0b8")
        spot(9, 2.5, 5, 2.5, "#4f9a3a")
    if kind == "cherries":
        draw.line([40, 80, 64, 16, 80, 80], fill="#4a6b2a", width=TIMES)
        spot(4, 10, 5.5, 5.5, "#c0182b")
        spot(10, 10, 5.5, 5.5, "#c0182b")
    if kind == "melon":
        draw.pieslice([4, -40, 108, 96], 20, 160, fill="#2f7d32")
        draw.pieslice([14, -40, 98, 82], 20, 160, fill="#e8455a")
        for x, y in ((5, 7), (7, 8.5), (9, 7)):
            spot(x, y, 1, 1.4, "#301010")
    return image.resize((14, 14), Image.Resampling.BOX)


# %%
# Two to four fruits lie on a wooden table, one over the other. All images show the same
# table.

KINDS = ["plum", "peach", "cherries", "melon"]
draws = np.random.default_rng(0)
grain = draws.normal(0, 0.03, (SIDE, 1)) + draws.normal(0, 0.02, (SIDE, SIDE))
wood = (np.array([0.62, 0.45, 0.28]) + grain[..., None]).clip(0, 1)
table = Image.fromarray((255 * wood).astype(np.uint8))


def scenes(n):
    """Images, and the instance and the kind of every pixel."""
    images = np.zeros((n, SIDE, SIDE, 3), np.uint8)
    instances, classes = np.zeros((2, n, SIDE, SIDE), np.int64)
    for i in range(n):
        image = table.copy()
        for j in range(draws.integers(2, 5)):
            k = draws.integers(len(KINDS))
            x, y = draws.integers(0, SIDE - 13, 2)
            one = fruit(KINDS[k])
            image.paste(one, (int(x), int(y)), one)
            seen = np.zeros((SIDE, SIDE), bool)
            seen[y : y + 14, x : x + 14] = np.asarray(one)[..., 3] > 127
            instances[i][seen], classes[i][seen] = j + 1, k + 1
        images[i] = np.asarray(image)
    return images, instances, classes


def make_folder(folder):
    """Write pictures as a person might keep them."""
    for i, image in enumerate(scenes(200)[0]):
        Image.fromarray(image).save(Path(folder) / f"table{i:03d}.png")


# %%
# Pictures are read from a folder and brought to one size.

with TemporaryDirectory() as made:
    if len(sys.argv) == 1:
        make_folder(made)
    X = load_image_folder((*sys.argv[1:], made)[0], size=SIDE, mode="RGB").images
print(f"{len(X)} pictures of {SIDE} x {SIDE} pixels")

# %%
# A plum and a peach differ in color alone. With colors that layers choose
# (``color="gain"``) they would be one kind.

n_sprites = int(sys.argv[2]) if len(sys.argv) > 2 else 4
n_layers = int(sys.argv[3]) if len(sys.argv) > 3 else 4
model = LayeredSpriteDecomposition(
    n_sprites, n_layers=n_layers, n_backgrounds=1, color="own", random_state=0
).fit(X)

new = X
if len(sys.argv) == 1:  # of pictures made here, the truth is known
    new, instances, classes = scenes(50)
    ari = segmentation_adjusted_rand_score(instances, model.predict(new))
    accuracy = mean_class_accuracy(classes, model.predict_semantic(new))
    print(f"pixels grouped to objects, adjusted Rand index: {ari:.3f}")
    print(f"pixels given the right kind, mean over kinds: {accuracy:.3f}")

# %%
# Sprites have their colors, and what shows through their edges is told from what lies
# behind them in different images.

DecompositionDisplay.from_estimator(model, new, n_images=5).plot()
