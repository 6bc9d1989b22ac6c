"""
Cosegmentation
==============

All images show the same kind of thing before different backgrounds, and nobody says
which. One sprite over one background finds it, and ``segment`` cuts it out.
"""

import numpy as np

from sklearn_sprites import ReconstructionDisplay, SpriteClustering, SpriteDisplay
from sklearn_sprites.datasets import make_traffic_signs

X, _, masks = make_traffic_signs(
    300, n_classes=1, size=20, return_masks=True, random_state=0
)

# %%
# One cluster: no grouping, only separation.

model = SpriteClustering(n_clusters=1, n_backgrounds=1, random_state=0).fit(X)
foreground = model.segment(X) > 0.5
overlap = (foreground & masks).sum((1, 2)) / (foreground | masks).sum((1, 2))
print(f"pixels labeled right: {np.mean(foreground == masks):.3f}")
print(f"intersection over union: {overlap.mean():.3f}")

# %%
# What was learned, and some images with their foreground.

SpriteDisplay.from_estimator(model, X, n_images=6).plot()

# %%
ReconstructionDisplay.from_estimator(model, X, n_images=10).plot()
