"""Sphinx configuration; build with ``sphinx-build -b html docs docs/_build/html``."""

import os
import warnings

import sklearn_sprites

os.environ["MPLBACKEND"] = "Agg"
warnings.filterwarnings("ignore", message=".*non-interactive.*")

project = "sklearn-sprites"
author = "The sklearn-sprites developers"
copyright = "The sklearn-sprites developers"
release = version = sklearn_sprites.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "benchmarks/*.py"]
html_theme = "furo"
html_title = f"sklearn-sprites {release}"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "within_subsection_order": "ExampleTitleSortKey",
    "download_all_examples": False,
}
