"""Files of models as every release has written them, which later ones must read.

Before a release, ``python -m tests.golden`` writes those of its version; what is in
the repository is never written again.
"""

import json
import warnings
from pathlib import Path

import sklearn_sprites
from sklearn_sprites import SpriteClustering
from tests.pictures import KMEANS, QUICK, make_model
from tests.saved import SCENES, X
from tests.scenes import SETTLED, make_decomposition

RELEASE = sklearn_sprites.__version__
FOLDER = Path(__file__).with_name("golden_files")
FILES = sorted(FOLDER.glob("*/*.safetensors"))
NETWORK = {**QUICK, "max_epochs": 3, "transformations": ("color", "affine")}
MODELS = {
    "kmeans": lambda: make_model(**KMEANS),
    "network": lambda: make_model(**NETWORK, n_backgrounds=1),
    "scenes": lambda: make_decomposition(**SETTLED),
}


def images_of(model):
    """The images that a model was fitted to."""
    return X if isinstance(model, SpriteClustering) else SCENES


def found(model):
    """What a model sees in its images: labels, or how many objects; and its score."""
    images = images_of(model)
    labels = model.predict(images).reshape(len(images), -1).max(axis=1)
    return {"labels": labels.tolist(), "score": model.score(images)}


def main():
    """Write the files of this version."""
    folder = FOLDER / RELEASE
    folder.mkdir(parents=True)
    for name, make in MODELS.items():
        model = make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(images_of(model))
        model.save(folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(found(model)) + "\n")


if __name__ == "__main__":
    main()
