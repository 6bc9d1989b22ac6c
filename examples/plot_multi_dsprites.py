"""
Shapes that hide each other
===========================

Two to five hearts, squares and ellipses in any color, size and angle lie over each
other on a plain ground. The search finds each object, its pose, its color, and which
of two overlapping objects is in front.
"""

from sklearn_sprites import DecompositionDisplay, LayeredSpriteDecomposition
from sklearn_sprites.datasets import make_multi_dsprites
from sklearn_sprites.metrics import (
    mean_class_accuracy,
    segmentation_adjusted_rand_score,
)

scenes = make_multi_dsprites(150, random_state=0)
X = scenes.images  # (150, 64, 64, 3), uint8

# %%
# With a background, sprites are masks of one color by default, and layers move, scale
# and turn them. Layers that would explain too little stay empty, so ``n_layers`` is
# the largest number of objects.

model = LayeredSpriteDecomposition(
    n_sprites=3,
    n_layers=5,
    n_backgrounds=1,
    images_per_round=75,
    max_rounds=15,
    tol=0.05,
    random_state=0,
).fit(X)

# %%
# How well pixels are grouped to objects, and named. The record of the training images
# is kept, so that nothing has to be searched again.

found = model.decomposition_
instances, classes = model.render(found, "instances"), model.render(found, "classes")
ari = segmentation_adjusted_rand_score(scenes.instances, instances)
accuracy = mean_class_accuracy(scenes.classes, classes)
print(f"pixels grouped to objects, adjusted Rand index: {ari:.3f}")
print(f"pixels given the right shape, mean over shapes: {accuracy:.3f}")
print(f"images with more than 0, 1, 2, 3, 4 objects: {model.layer_counts_.tolist()}")

# %%
# Sprites, and some images with their layers.

DecompositionDisplay.from_estimator(model, X, n_images=6).plot()
