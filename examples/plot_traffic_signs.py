"""
Signs over a background
=======================

Signs in the street: the same pictograms at different places and sizes, in sun and in
shade, before anything at all. Sprites with masks over one background learn the
pictograms alone.
"""

from sklearn.cluster import KMeans

from sklearn_sprites import ReconstructionDisplay, SpriteClustering, SpriteDisplay
from sklearn_sprites.datasets import make_traffic_signs
from sklearn_sprites.metrics import clustering_accuracy

X, y = make_traffic_signs(200, n_classes=5, size=20, random_state=0)

# %%
# With ``n_backgrounds=1`` each sprite has a mask, and what it leaves free shows a
# background, recolored for each image. By default, sprites may be recolored, moved,
# scaled, sheared and bent.

model = SpriteClustering(
    n_clusters=5, n_backgrounds=1, max_epochs=40, random_state=0
).fit(X)
kmeans = KMeans(n_clusters=5, random_state=0).fit(X.reshape(len(X), -1))
print(f"SpriteClustering: accuracy {clustering_accuracy(y, model.labels_):.3f}")
print(f"KMeans:           accuracy {clustering_accuracy(y, kmeans.labels_):.3f}")

# %%
# The sprites over checkers, which show through where a sprite is transparent.

SpriteDisplay.from_estimator(model, X).plot()

# %%
# Some images, drawn again. The last row is where the sprite is seen.

ReconstructionDisplay.from_estimator(model, X).plot()
