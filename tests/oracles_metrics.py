"""Slow twins of the measures of segmentations, in plain loops over pixels."""

from itertools import combinations, permutations

import numpy as np


def adjusted_rand(true, pred, background=True):
    """By counting pairs of pixels, one by one, in each image."""
    scores = []
    for t, p in zip(np.asarray(true), np.asarray(pred), strict=True):
        pixels = [
            (a, b)
            for a, b in zip(t.ravel(), p.ravel(), strict=True)
            if background or a != 0
        ]
        together = [(a == c, b == d) for (a, b), (c, d) in combinations(pixels, 2)]
        both = sum(x and y for x, y in together)
        in_true, in_pred = (sum(pair[k] for pair in together) for k in (0, 1))
        if both == in_true == in_pred:
            scores.append(1.0)
            continue
        expected = in_true * in_pred / len(together)
        scores.append((both - expected) / ((in_true + in_pred) / 2 - expected))
    return scores


def instance_iou(true, pred):
    """By trying all one-to-one matchings of the masks, padded with empty ones."""
    scores = []
    for t, p in zip(np.asarray(true), np.asarray(pred), strict=True):
        ours = [t == a for a in np.unique(t)]
        theirs = [p == b for b in np.unique(p)]
        slots = max(len(ours), len(theirs))
        empty = np.zeros(t.shape, bool)
        ours += [empty] * (slots - len(ours))
        theirs += [empty] * (slots - len(theirs))
        best = max(
            sum(_iou(a, theirs[k]) for a, k in zip(ours, order, strict=True))
            for order in permutations(range(slots))
        )
        scores.append(best / slots)
    return scores


def _iou(a, b):
    union = (a | b).sum()
    return (a & b).sum() / union if union else 0.0


def semantic_scores(true, pred, background=True):
    """All (mean accuracy, mean IoU) of matchings with as many pixels right as can be.

    Official definition: labels matched one to one over all images; without
    background, pixels where either map is 0 are left out.
    """
    pixels = list(zip(np.ravel(true), np.ravel(pred), strict=True))
    classes = sorted({a for a, _ in pixels if background or a != 0})
    labels = sorted({b for _, b in pixels if background or b != 0})
    if not background:
        pixels = [(a, b) for a, b in pixels if a != 0 and b != 0]
    padded = [*classes, *[None] * len(labels)]
    found = {}
    for choice in set(permutations(padded, len(labels))):
        name = dict(zip(labels, choice, strict=True))
        named = [(a, name[b]) for a, b in pixels]
        right = sum(a == b for a, b in named)
        found.setdefault(right, []).append(_means(named, classes))
    return found[max(found)]


def many_to_one_scores(true, pred):
    """Every label goes with its commonest class; the first of those as common."""
    pixels = list(zip(np.ravel(true), np.ravel(pred), strict=True))
    classes = sorted({a for a, _ in pixels})
    name = {
        b: max(classes, key=lambda a, b=b: (pixels.count((a, b)), -a))
        for b in {b for _, b in pixels}
    }
    return _means([(a, name[b]) for a, b in pixels], classes)


def _means(named, classes):
    recalls, ious = [], []
    for c in classes:
        hit = sum(a == b == c for a, b in named)
        size = sum(a == c for a, _ in named)
        either = sum(c in pair for pair in named)
        recalls.append(hit / size if size else 0.0)
        ious.append(hit / either if either else 0.0)
    return float(np.mean(recalls)), float(np.mean(ious))
