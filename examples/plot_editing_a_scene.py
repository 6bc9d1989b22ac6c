"""
Editing a scene
===============

A decomposition is a record that can be edited and drawn again: objects are moved,
recolored, exchanged or taken away, one at a time, without touching a pixel.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_sprites import LayeredSpriteDecomposition
from sklearn_sprites.datasets import make_tetrominoes

X = make_tetrominoes(200, random_state=0).images
model = LayeredSpriteDecomposition(
    n_sprites=19, n_layers=3, images_per_round=100, random_state=0
).fit(X)

# %%
# What was found in one image: the sprites of its layers, and their places in pixels.

found = model.decompose(X[7:8])
for layer, sprite in enumerate(found.sprite[0]):
    x, y = found.x[0, layer], found.y[0, layer]
    print(f"layer {layer}: sprite {sprite} at ({x:.1f}, {y:.1f})")

# %%
# Every edit gives another record; the first one stays. Edits take the index of a layer
# or, for many images at once, booleans such as ``found.sprite == 2``.

step = np.where(found.y[:, :1] < 17, 6, -6)
edits = {
    "as found": found,
    "moved": found.move(0, dy=step),
    "recolored": found.recolor(0, (200, 0, 200)),
    "another sprite": found.swap_sprite(0, (found.sprite[:, :1] + 1) % 19),
    "dropped": found.drop(0),
    "alone": found.keep(0),
}
drawn = {title: model.render(record)[0] for title, record in edits.items()}
changed = (np.abs(drawn["dropped"] - drawn["as found"]) > 25).any(-1)
only = model.predict(X[7:8])[0][changed] == 1
print(f"changed pixels that belong to the dropped object: {only.mean():.3f}")

# %%
# The image and what became of it.

figure, axes = plt.subplots(1, 7, figsize=(11, 2), layout="constrained")
for axis, (title, picture) in zip(axes, {"image": X[7], **drawn}.items(), strict=True):
    axis.imshow(np.clip(picture / 255, 0, 1), interpolation="nearest")
    axis.set(title=title, xticks=[], yticks=[])
