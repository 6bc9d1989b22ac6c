"""
Tetrominoes
===========

Every image shows three tetrominoes, in any of six colors, anywhere on black. Nobody
says which pieces there are, where they lie, or which pixels belong together; the 19
pieces recur, and that is enough.
"""

from sklearn_sprites import DecompositionDisplay, LayeredSpriteDecomposition
from sklearn_sprites.datasets import make_tetrominoes
from sklearn_sprites.metrics import (
    mean_class_accuracy,
    segmentation_adjusted_rand_score,
)

scenes = make_tetrominoes(300, random_state=0)
X = scenes.images  # (300, 35, 35, 3), uint8

# %%
# A layer shows one sprite, in one place and one color. Layers are searched and
# sprites are solved, in turns.

model = LayeredSpriteDecomposition(
    n_sprites=19, n_layers=3, images_per_round=150, random_state=0
).fit(X)

# %%
# New images are decomposed with the same sprites. ``predict`` tells the objects of an
# image apart, ``predict_semantic`` tells which sprite each pixel shows; scores match
# sprites with true pieces.

new = make_tetrominoes(100, random_state=1)
instances, classes = model.predict(new.images), model.predict_semantic(new.images)
ari = segmentation_adjusted_rand_score(new.instances, instances)
accuracy = mean_class_accuracy(new.classes, classes)
print(f"pixels grouped to objects, adjusted Rand index: {ari:.3f}")
print(f"pixels given the right piece, mean over pieces: {accuracy:.3f}")

# %%
# The sprites that were learned, and some of the new images: how they are drawn from
# their layers, the maps, and the layers by themselves.

DecompositionDisplay.from_estimator(model, new.images, n_images=6).plot()
