"""Images to try the estimators on: drawn, or read from a folder."""

from sklearn_sprites.datasets.folder import load_image_folder
from sklearn_sprites.datasets.generators import TRAFFIC_SIGNS, make_traffic_signs

__all__ = ["TRAFFIC_SIGNS", "load_image_folder", "make_traffic_signs"]
