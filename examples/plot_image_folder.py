"""
A folder of your own
====================

``python plot_image_folder.py FOLDER [N_CLUSTERS]`` groups the images in a folder.
Without a folder, a small one is made first: signs in different sizes and file formats,
sorted into sub-folders, with a file among them that is no image.
"""

import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from sklearn.metrics import adjusted_rand_score

from sklearn_sprites import SpriteClustering, SpriteDisplay
from sklearn_sprites.datasets import (
    TRAFFIC_SIGNS,
    load_image_folder,
    make_traffic_signs,
)
from sklearn_sprites.exceptions import ImageSkippedWarning


def make_folder(root):
    """Write signs of four kinds as a person's folder might hold them."""
    images, labels = make_traffic_signs(120, n_classes=4, size=40, random_state=1)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / TRAFFIC_SIGNS[label]
        folder.mkdir(exist_ok=True)
        suffix = ("png", "jpg", "webp")[i % 3]
        picture = Image.fromarray(image).resize((40 + i % 7, 40 + i % 7))
        picture.save(folder / f"{i:03d}.{suffix}", quality=95)
    (root / "no entry" / "broken.jpg").write_text("not an image")


# %%
# ``size`` brings all images to one size; what cannot be read is named in a warning and
# listed in ``data.skipped``.

with TemporaryDirectory() as temporary, warnings.catch_warnings():
    warnings.simplefilter("ignore", ImageSkippedWarning)
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
    else:
        folder = Path(temporary)
        make_folder(folder)
    data = load_image_folder(folder, size=20, mode="RGB")

print(f"{len(data.images)} images; left out: {data.skipped}")

# %%
# Sub-folders, where there are some, serve as labels to compare with.

n_clusters = int(sys.argv[2]) if len(sys.argv) > 2 else 4
model = SpriteClustering(
    n_clusters, n_backgrounds=1, max_epochs=40, random_state=0
).fit(data.images)
if data.target is not None:
    agreement = adjusted_rand_score(data.target, model.labels_)
    print(f"agreement with the sub-folders (adjusted Rand index): {agreement:.3f}")
for k in range(n_clusters):
    members = [data.filenames[i] for i in (model.labels_ == k).nonzero()[0]]
    print(f"cluster {k}, {len(members)} images: {', '.join(members[:3])} ...")

# %%
SpriteDisplay.from_estimator(model, data.images).plot()
