"""Rounds for masks in any pose: search, then least squares for every mask."""

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import BATCH
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import Layers, Sprites, draw, picture
from sklearn_sprites._engine.search.scene import Found, layers_found, make_searcher
from sklearn_sprites._engine.search.sprites import published, with_alpha
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.components import (
    standing_apart,
    where_whole,
    windows_of,
)
from sklearn_sprites._engine.training.gauge import Bends, gauged, sharpened
from sklearn_sprites._engine.training.learner import AbstractLearner, Task
from sklearn_sprites._engine.training.mask_swaps import (
    Windows,
    layers_seen,
    some_of,
    standing_alone,
    swapped,
)
from sklearn_sprites._engine.training.pose_kmeans import pose_kmeans
from sklearn_sprites._engine.training.scene_evidence import (
    frame_points,
    mask_evidence,
)

MEMORY = 0.6  # of what earlier rounds saw
PRIOR = 0.1  # squared contrast that a mask as it was is worth
TRUSTED = 25.0  # times the penalty that a layer saves before it teaches
CLEAR = 2e-3  # mean squared error of an image that teaches
DISC = 0.72  # radius of the first sprite, in halves of its side
DISC_SCALES = (0.36, 0.46, 0.58, 0.72, 0.9)
RADII = (0.36, 0.46, 0.58, 0.72, 0.9)  # tried one by one, where things have one size
TRIED_ON = 96  # images
CONTRASTS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of edges, tried in every round
EXAMPLES = 64  # images on which they are tried
WINDOWS = 500  # from which first sprites are made, at most
CLEAREST = 0.7  # share of the windows that are used
SETTLING = 1  # rounds before masks are put elsewhere
ATTEMPTS, IN_VAIN = 6, 2  # to put them elsewhere: at most, and without success
PART = 0.5  # of a layer's mask that lies on something whole, which is seen by itself
AFTERWARDS = 0.1  # of what was seen of the masks that stay, once others are elsewhere


class PosedLearner(AbstractLearner):
    """Masks (K, h, w), sums of what rounds saw of them, and how steep edges are."""

    def __init__(self, task: Task, given: Sprites | None) -> None:
        super().__init__(task)
        self.given = None if given is None else given.alpha
        self.masks = torch.zeros(0)
        self.contrast = 1.0
        self.sums = torch.zeros(0)
        self.turn = self.in_vain = 0

    def begin(self, images: Tensor) -> None:
        """k-means of the windows that discs find."""
        if self.given is not None:
            self.masks = self.given
        else:
            radii = (DISC,) if self.spec.has_scale else RADII
            starts = [self._start(images, radius) for radius in radii]
            self.masks = self._best(starts, images[:TRIED_ON])
        self.sums = torch.zeros_like(self.masks)[:, None].repeat(1, 2, 1, 1)

    def _start(self, images: Tensor, radius: float) -> Tensor:
        """Masks from the windows that discs of this radius find."""
        windows = first_windows(images, self.spec, self.penalty, radius)
        if not len(windows):
            windows = disc(self.spec, images, radius)
        k = self.spec.n_sprites
        found = pose_kmeans(windows[:WINDOWS], k, self.spec, self.draws)
        return gauged(found, self.spec)

    def _best(self, starts: list[Tensor], images: Tensor) -> Tensor:
        """The masks that explain some images best."""
        if len(starts) == 1:
            return starts[0]
        quick = self.settings.search.brief
        errors = []
        for masks in starts:
            sprites = steep(masks, self.contrast, self.spec)
            searcher = make_searcher(self.spec, quick, self.penalty, sprites)
            layers = layers_found(images, searcher, BATCH)
            errors.append(sum(float(found.picture.error.sum()) for _, found in layers))
        return starts[min(range(len(starts)), key=errors.__getitem__)]

    @property
    def moves_masks(self) -> bool:
        """Whether masks may be put elsewhere in this round."""
        is_time = SETTLING < self.turn <= SETTLING + ATTEMPTS
        return is_time and self.in_vain < IN_VAIN

    def round(self, images: Tensor, exploring: bool) -> float:
        """Search, and solve the masks."""
        self.turn += 1
        quick = self.settings.search.brief
        searcher = make_searcher(self.spec, quick, self.penalty, self.sprites())
        return self.learn(layers_found(images, searcher, BATCH), images)

    def learn(self, seen_layers: Iterable[tuple[Tensor, Found]], like: Tensor) -> float:
        """Solve the masks under layers of images; mean squared error before."""
        sides = (self.spec.sprite_height, self.spec.sprite_width)
        sums, error, count = MEMORY * self.sums, 0.0, 0
        examples: list[tuple[Tensor, Layers]] = []
        windows: list[Windows] = []
        bends = Bends(self.spec, like)
        for x, found in seen_layers:
            seen = mask_evidence(x, found.layers, found.picture, self.spec, sides)
            error_of = found.picture.error / image_of(x, self.spec)[0].numel()
            clear = error_of <= error_of.median().clamp_min(CLEAR)
            pays = is_trusted(found, self.penalty)
            taught = pays & clear[:, None]
            weight = (found.layers.on * taught).flatten()[:, None, None, None]
            sprite = found.layers.sprite.flatten()
            bends.add(found.layers, found.layers.on * taught)
            sums = sums.index_add(0, sprite, seen.flatten(0, 1) * weight)
            error += float(found.picture.error.double().sum())
            count += image_of(x, self.spec).numel()
            if len(examples) * BATCH < EXAMPLES:
                examples.append((x, found.layers))
            if self.moves_masks:
                shown = pays & (found.layers.on > 0)
                windows.append(self._windows(x, found.picture.alpha, seen, shown))
        self.sums = sums
        prior = PRIOR * self.masks.clamp(0, 1)
        mask = (sums[:, 0] + prior) / (sums[:, 1] + PRIOR)
        self.masks = gauged(mask.clamp(0, 1), self.spec, bends.mean())
        if windows:
            self._swap(windows)
        self.contrast = steepness(self.masks, examples, self.spec)
        return error / count

    def _windows(
        self, images: Tensor, alpha: Tensor, seen: Tensor, shown: Tensor
    ) -> Windows:
        """What stands alone, and what layers saw that show nothing of it.

        Where sprites have light and dark parts, only what layers saw.
        """
        if self.spec.has_shades:
            return layers_seen(seen[shown])
        apart = standing_apart(images, self.spec)
        whole = where_whole(apart)[:, None]
        covered = (alpha * whole).sum((2, 3)) > PART * alpha.sum((2, 3))
        objects = standing_alone(windows_of(images, self.spec, apart))
        return objects.beside(layers_seen(seen[shown & ~covered]))

    def _swap(self, windows: list[Windows]) -> None:
        """Put masks that are hardly missed where others explain little."""
        masks, new = swapped(self.masks, some_of(windows), self.spec)
        self.in_vain += not new
        if new:
            self.masks = gauged(masks, self.spec)
            self.sums = AFTERWARDS * self.sums
            self.sums[new] = 0

    def sprites(self) -> Sprites:
        """The masks with their edges."""
        return steep(self.masks, self.contrast, self.spec)

    def published(self) -> NDArray:
        """Sprites (K, C + 1, h, w)."""
        return published(self.sprites(), self.spec)


def is_trusted(found: Found, penalty: float) -> Tensor:
    """Whether layers (B, L) save enough, or as much as half of them do."""
    saved = found.saves[found.layers.on > 0]
    usual = saved.median() if len(saved) else saved.sum()
    return found.saves >= usual.clamp(max=TRUSTED * penalty)


def steep(masks: Tensor, contrast: float, spec: SceneSpec) -> Sprites:
    """Sprites with steeper edges."""
    masks = sharpened(masks, contrast)
    return with_alpha(masks if spec.color == "flat" else masks.clamp(0, 1), spec)


def steepness(
    masks: Tensor, examples: list[tuple[Tensor, Layers]], spec: SceneSpec
) -> float:
    """The contrast of edges that explains example images best."""
    best, least = 1.0, math.inf
    for contrast in CONTRASTS:
        sprites, error = steep(masks, contrast, spec), 0.0
        for x, layers in examples:
            drawn = draw(sprites, layers, spec.height, spec.width)
            found = picture(x, drawn, layers.over, spec)
            error += float(found.error.double().sum())
        if error < least:
            best, least = contrast, error
    return best


def disc(spec: SceneSpec, like: Tensor, radius: float = DISC) -> Tensor:
    """A round mask (1, h, w)."""
    sides = (spec.sprite_height, spec.sprite_width)
    far = frame_points(sides, like).norm(dim=1).view(1, *sides)
    return ((radius - far) * min(sides) / 2 + 0.5).clamp(0, 1)


def first_windows(
    images: Tensor, spec: SceneSpec, penalty: float, radius: float = DISC
) -> Tensor:
    """Masks (n, h, w) of what discs find, those seen most clearly."""
    round_spec = replace(spec, n_sprites=1)
    scales = DISC_SCALES if spec.has_scale else (1.0,)
    search = SearchPlan(
        sweeps=1, rotations=1, scales=scales, refine_steps=0, restarts=0, replacements=0
    )
    mask = disc(spec, images, radius)
    searcher = make_searcher(round_spec, search, penalty, with_alpha(mask, spec))
    sides, found = (spec.sprite_height, spec.sprite_width), []
    for x, layers in layers_found(images, searcher, BATCH):
        seen = mask_evidence(x, layers.layers, layers.picture, spec, sides)
        top, bottom = seen.unbind(2)
        alpha = (top / (bottom + 1e-2)).clamp(0, 1)
        full = (alpha * mask).sum((2, 3)) / mask.sum()
        clear = ((bottom > 0.02) * mask).sum((2, 3)) / mask.sum()
        good = is_trusted(layers, penalty) & (full > 0.5) & (clear > 0.85)
        found.append(alpha[good & (layers.layers.on > 0)])
    windows = torch.cat(found)
    edge = torch.cat([windows[:, [0, -1]], windows[:, :, [0, -1]].transpose(1, 2)], 2)
    doubt = (windows * (1 - windows)).mean((1, 2)) + 2 * edge.mean((1, 2))
    return windows[doubt.argsort()[: int(CLEAREST * len(windows))]]
