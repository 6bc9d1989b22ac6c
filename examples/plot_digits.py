"""
Handwritten digits
==================

Groups scikit-learn's bundled digits without looking at their labels, compares the
groups with the labels, and draws what was learned into ``digits.png``.
"""

from time import perf_counter

from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from sklearn_sprites import SpriteClustering, SpriteDisplay
from sklearn_sprites.metrics import clustering_accuracy

digits = load_digits()
X, y = digits.images, digits.target  # (1797, 8, 8), values from 0 to 16

# %%
# A sprite may be warped to fit an image; k-means compares pixel by pixel.

start = perf_counter()
model = SpriteClustering(n_clusters=10, random_state=0).fit(X)
seconds = perf_counter() - start
kmeans = KMeans(n_clusters=10, random_state=0).fit(X.reshape(len(X), -1))
accuracy = clustering_accuracy(y, model.labels_)
print(f"SpriteClustering: accuracy {accuracy:.3f} after {seconds:.1f} s")
print(f"KMeans:           accuracy {clustering_accuracy(y, kmeans.labels_):.3f}")

# %%
# Each row is a cluster: its sprite, the images nearest to it, images at the median
# distance, how the sprite is transformed to explain those, and those images with the
# transformation undone.

display = SpriteDisplay.from_estimator(model, X).plot()
display.figure_.savefig("digits.png", dpi=150)
