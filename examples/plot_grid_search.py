"""
Which transformations?
======================

A grid search over what may happen to a sprite. Where a few labels are known, they can
choose. The held-out error cannot: the more freedom, the lower it is, or hardly higher,
as the second panel shows.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from sklearn_sprites import SpriteClustering

digits = load_digits()
X, y = digits.images[:300], digits.target[:300]

choices = [
    (),  # plain k-means
    ("translation",),
    ("similarity",),
    ("affine",),
    ("affine", "thin_plate_spline"),
]

# %%
# Labels are used to score, never to fit.

search = GridSearchCV(
    SpriteClustering(n_clusters=10, max_epochs=12, tol=0.02, random_state=0),
    {"transformations": choices},
    scoring={"agreement": "adjusted_rand_score", "fit": None},
    refit="agreement",
    cv=ShuffleSplit(n_splits=2, test_size=0.5, random_state=0),
)
search.fit(X, y)
print("best:", " + ".join(search.best_params_["transformations"]) or "none")

# %%
# ``score`` is minus the sum of squared distances of the held-out images.

results = search.cv_results_
names = ["\n+ ".join(choice).replace("_", " ") or "none" for choice in choices]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
axes[0].bar(names, results["mean_test_agreement"], color="tab:blue")
axes[0].set(title="Adjusted Rand index, held out", ylim=(0, 1))
axes[1].bar(names, -results["mean_test_fit"], color="tab:gray")
axes[1].set(title="Sum of squared distances, held out")
for axis in axes:
    axis.tick_params(axis="x", labelsize="small")
    axis.spines[["top", "right"]].set_visible(False)
