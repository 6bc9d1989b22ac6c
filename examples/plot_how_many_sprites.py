"""
How many sprites?
=================

With too few sprites, some objects are drawn by the wrong one, and the error is large;
with more than there are kinds of objects, hardly anything is gained. The number is at
the elbow of the curve.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from sklearn_sprites import LayeredSpriteDecomposition
from sklearn_sprites.datasets import make_tetrominoes
from sklearn_sprites.exceptions import ClusterCollapseWarning

# %%
# Scenes of six kinds of pieces: those images of a larger set that show no other.

scenes = make_tetrominoes(2500, n_objects=2, size=24, cell=3, random_state=0)
kinds = np.arange(1, 7)
keep = np.isin(scenes.classes, [0, *kinds]).all((1, 2))
X, new = scenes.images[keep][:100], scenes.images[keep][100:]

# %%
# Two fits for each number, the better of which is judged by images that it has not
# seen. With more sprites than kinds, some may be shown nowhere: no surprise here.

warnings.simplefilter("ignore", ClusterCollapseWarning)
numbers = [4, 5, 6, 7]
errors = []
for number in numbers:
    model = LayeredSpriteDecomposition(
        number, n_layers=2, sprite_size=14, n_init=2, random_state=0
    ).fit(X)
    errors.append(-model.score(new) / new.size)
    unused = int((model.counts_ == 0).sum())
    print(f"{number} sprites: mean squared error {errors[-1]:.1f}, unused {unused}")

# %%
# The elbow: the last number with which the error falls by a tenth of what it was first.

falls = -np.diff(errors)
elbow = numbers[1 + np.flatnonzero(falls > 0.1 * errors[0])[-1]]
print(f"elbow: {elbow}")
plt.plot(numbers, errors, marker="o")
plt.axvline(elbow, color="gray", linestyle=":")
plt.xticks(numbers)
plt.xlabel("number of sprites")
plt.ylabel("mean squared error")
