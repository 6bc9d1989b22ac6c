"""What a layer must save where the ground is rough: as much as no object saves there.

Sprites find something of their like in any texture, and more of it than noise would
have, for a layer picks the best of thousands of places, poses and colors. How much that
saves is seen in decoys: images without their objects, in which what is left differs
from the ground the other way, so that it is as rough as before and shows nothing that
was drawn. Searches of other kinds compare targets with decoys in the same way.
"""

import math
from dataclasses import replace

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import from_numpy

from sklearn_sprites._engine.scene_inference import ScenePredictor
from sklearn_sprites._engine.scene_records import LayerRecord

DECOYS = 48  # at most
CLEAR = 0.1  # of what the best layers of a sprite save: an object, not ground
BEST = 0.75  # quantile of these
ROUGH = 0.5  # share of decoys in which something is found, if the ground is rough
RARE = 0.9  # quantile of what is found in decoys
MARGIN = 1.5  # times as much must be saved: in one of a hundred more is found
NEAR = 2  # pixels about an object that may show its edge


def rough_penalty(
    predictor: ScenePredictor, images: NDArray, record: LayerRecord, penalty: float
) -> float:
    """The penalty, or a larger one that what is found in decoys does not pay.

    Parameters
    ----------
    predictor : ScenePredictor
        Finds layers with `penalty`.
    images : ndarray of shape (n, C, H, W)
        Images before grounds, float32, in model units.
    record : LayerRecord
        What was found in them.
    penalty : float
        What a layer must save so far, in squared error summed over an image.

    Returns
    -------
    penalty : float
        Larger only if something is found in most of the decoys, and never so large that
        it hides what is a clear object of any sprite.
    """
    clear = clear_savings(record)
    if not len(images) or not np.isfinite(clear).any():
        return penalty
    rows = np.arange(0, len(images), math.ceil(len(images) / DECOYS))
    some = record.take(rows)
    is_object = some.saves > clear[some.sprite]  # an empty layer saves nothing
    decoys = decoys_of(predictor, images[rows], some, is_object)
    saves = predictor.decompose(decoys).saves.max(1)
    if np.mean(saves > 0) < ROUGH:
        return penalty
    rough = MARGIN * float(np.quantile(saves, RARE))
    return max(penalty, min(rough, float(clear[np.isfinite(clear)].min())))


def clear_savings(record: LayerRecord) -> NDArray:
    """What a layer that shows each sprite saves at least if it is an object, (K,).

    Infinite for sprites that are not shown.
    """
    shown = record.sprite >= 0
    least = np.full(int(record.sprite.max(initial=0)) + 1, np.inf)
    for k in np.unique(record.sprite[shown]):
        least[k] = CLEAR * np.quantile(record.saves[record.sprite == k], BEST)
    return least


def decoys_of(
    predictor: ScenePredictor, images: NDArray, record: LayerRecord, is_object: NDArray
) -> NDArray:
    """Images whose grounds differ from what is drawn the other way, without objects."""
    empty = replace(record, sprite=np.full_like(record.sprite, -1))
    ground = predictor.render(empty).images
    masks = predictor.render(record).masks * is_object[:, :, None, None]
    covered = from_numpy(masks.max(1, keepdims=True))
    near = F.max_pool2d(covered, 2 * NEAR + 1, 1, NEAR).numpy()
    return ground - (images - ground) * (1 - near)
