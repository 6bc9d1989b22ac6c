"""A learned model applied to images, in batches of one fixed size.

Batches are padded to one size, so that every image passes the same kernels whatever
the number, the order and the company of images: results do not depend on how images are
batched, to the last bit on a CPU.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_sprites._engine.models.build import from_fitted
from sklearn_sprites._engine.models.candidates import Shifted, candidate_errors
from sklearn_sprites._engine.models.clustering import (
    ClusteringModel,
    Description,
    Drawn,
    color_of,
)
from sklearn_sprites._engine.ops.centering import centered, shifted
from sklearn_sprites._engine.ops.color import apply_color
from sklearn_sprites._engine.ops.leveling import leveled, planes, slope_filter
from sklearn_sprites._engine.records import Assignment, FittedModel
from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.spec import COLORS
from sklearn_sprites._engine.training.lloyd import squared_distances
from sklearn_sprites._engine.training.weighing import NAME, on_device, stretched
from sklearn_sprites._engine.workers import side_by_side

#: Images in a batch, a multiple of 16: smaller remainders take other kernels.
BATCH = {"cpu": 64, "cuda": 1024}
SMALL_BATCH = {"cpu": 128, "cuda": 4096}  # of images of at most `SMALL` values
SMALL = 1024
SMALLEST_GAIN = 0.05  # a color is undone as if its gain were at least this


class Predictor:
    """Applies a :class:`FittedModel` to float32 images (n, C, H, W) in model units."""

    def __init__(
        self, fitted: FittedModel, device: str, encoder: nn.Module | None = None
    ) -> None:
        self.device = device
        self.has_own_encoder = encoder is None
        spec = self.spec = fitted.spec
        is_small = spec.height * spec.width * spec.channels <= SMALL
        self.size = (SMALL_BATCH if is_small else BATCH)[torch.device(device).type]
        self.active = frozenset(
            (*spec.transformations, *spec.background_transformations)
        )
        self.model: ClusteringModel | None = None
        with isolated(grad=False):
            self.sprites = torch.from_numpy(np.array(fitted.sprites)).to(device)
            weights = fitted.arrays.get(NAME)
            self.pixel_weights = on_device(weights, self.sprites)
            self.slopes: Tensor | None = None
            if spec.is_leveled:
                size = spec.height, spec.width, self.pixel_weights
                self.slopes = slope_filter(*size, like=self.sprites)
            if not spec.is_kmeans:
                self.model = from_fitted(fitted, device, encoder).eval()
                self.is_centered = bool(self.model.is_centered)

    def assign(self, images: NDArray) -> Assignment:
        """Sprite, errors under all sprites, and parameters of each image."""
        parts = self._run(self._assign, images)
        return Assignment(
            parts["labels"],
            parts["errors"].astype(np.float64),
            _named(parts, "sprite."),
            parts["background"],
            _named(parts, "background."),
        )

    def reconstruct(self, images: NDArray) -> NDArray:
        """Every image as its best sprite draws it, (n, C, H, W)."""
        return self._run(self._reconstruct, images)["image"]

    def align(self, images: NDArray) -> NDArray:
        """Images brought into their sprite's frame and colors, (n, C, H, W)."""
        return self._run(self._align, images)["image"]

    def segment(self, images: NDArray) -> NDArray:
        """Alpha of the chosen sprite where it was placed, (n, H, W)."""
        return self._run(self._segment, images)["alpha"]

    def _run(
        self, function: Callable[[Tensor], dict[str, Tensor]], images: NDArray
    ) -> dict[str, NDArray]:
        """Apply `function` to padded batches and put the rows together again."""

        def run(first: int) -> dict[str, Any]:
            some = images[first : first + self.size]
            batch = np.zeros((self.size, *images.shape[1:]), np.float32)
            batch[: len(some)] = some
            result = function(torch.from_numpy(batch).to(self.device))
            return {n: v[: len(some)].cpu().numpy() for n, v in result.items()}

        with isolated(grad=False):
            starts = range(0, len(images), self.size)
            if self.has_own_encoder:
                found = side_by_side(run, starts, self.device)
            else:  # a user's module may not bear several threads
                found = [run(start) for start in starts]
        return {n: np.concatenate([part[n] for part in found]) for n in found[0]}

    def _level(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images as they are to be explained, and the slopes taken off them, if any."""
        return (images, None) if self.slopes is None else leveled(images, self.slopes)

    def _middle(self, images: Tensor) -> tuple[Tensor, Shifted | None]:
        """Images as the model wants to see them, and as they were, if shifted."""
        if self.model is None or not self.is_centered:
            return images, None
        middle, offset = centered(images)
        return middle, Shifted(images, offset)

    def _choose(
        self, images: Tensor, before: Shifted | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Description, Drawn]:
        """Errors (B, K), and the drawn winners with everything that describes them."""
        model = self.model
        assert model is not None, "k-means draws nothing"
        description = model.describe(images, self.active)
        every = torch.arange(self.spec.n_sprites, device=images.device)
        every = every.expand(len(images), -1)
        what = images, every, description, self.active
        errors = candidate_errors(
            model, *what, before=before, is_priced=False
        )  # (B, K, M)
        n_behind = errors.shape[2]
        best = errors.flatten(1).argmin(1)
        sprites, behind = best // n_behind, best % n_behind
        rows = torch.arange(len(images), device=images.device)
        drawn = model.draw(images, rows, sprites, behind, description, self.active)
        return errors.amin(2), sprites, behind, description, drawn

    def _assign(self, images: Tensor) -> dict[str, Tensor]:
        images, slopes = self._level(images)
        light = {} if slopes is None else {"sprite.slope": slopes.flatten(1)}
        if self.model is None:
            errors = self._exact_errors(images)
            labels = errors.argmin(1)
            nothing = torch.zeros_like(labels)
            return {"labels": labels, "errors": errors, "background": nothing, **light}
        images, before = self._middle(images)
        errors, sprites, behind, description, drawn = self._choose(images, before)
        found = {"labels": sprites, "errors": errors, "background": behind, **light}
        if before is not None:
            side = before.offset.new_tensor([self.spec.width, self.spec.height])
            found["sprite.centering"] = (2 * before.offset / side).float()
        rows = torch.arange(len(images), device=images.device)
        for name, value in description.params.items():
            found[f"sprite.{name}"] = value[rows, sprites]
        for name, value in description.background_params.items():
            found[f"background.{name}"] = value[rows, behind]
        if drawn.thickness is not None:
            found["sprite.thickness"] = drawn.thickness
        found.update(self._colors(drawn))
        return found

    def _colors(self, drawn: Drawn) -> dict[str, Tensor]:
        """Colors in use, solved or predicted, as (B, 2 C), (B, C) or (B, 2)."""
        found = {}
        spec = self.spec
        for whose, names, color in (
            ("sprite", spec.transformations, drawn.color),
            ("background", spec.background_transformations, drawn.background_color),
        ):
            name = color_of(names)
            if name is not None:
                found[f"{whose}.{name}"] = {
                    "color": color.flatten(1),
                    "linear_color": color[..., 0],
                    "light": color[:, 0],
                }[name]
        return found

    def _exact_errors(self, images: Tensor) -> Tensor:
        """Squared distances without cancellation, (B, K)."""
        flat = stretched(images, self.pixel_weights)
        sprites = stretched(self.sprites, self.pixel_weights)
        errors = squared_distances(flat, sprites)
        best = errors.argmin(1)
        exact = (flat - sprites[best]).square().sum(1)
        return errors.scatter(1, best[:, None], exact[:, None])

    def _reconstruct(self, images: Tensor) -> dict[str, Tensor]:
        images, slopes = self._level(images)
        image = self._redraw(images)
        if slopes is not None:
            image = image + planes(slopes, *image.shape[-2:])
        return {"image": image}

    def _redraw(self, images: Tensor) -> Tensor:
        """Images as sprites draw them, in the light that has been taken off them."""
        if self.model is None:
            return self.sprites[self._exact_errors(images).argmin(1)]
        images, before = self._middle(images)
        image = self._choose(images, before)[-1].image
        return image if before is None else shifted(image, -before.offset)

    def _segment(self, images: Tensor) -> dict[str, Tensor]:
        alpha = self._choose(images)[-1].alpha
        assert alpha is not None, "opaque sprites have no alpha"
        return {"alpha": alpha[:, 0].clamp(0, 1)}

    def _align(self, images: Tensor) -> dict[str, Tensor]:
        images, _ = self._level(images)
        if self.model is None:
            return {"image": images}
        images, before = self._middle(images)
        _, sprites, _, description, drawn = self._choose(images, before)
        rows = torch.arange(len(images), device=images.device)
        params = {
            n: v[rows, sprites]
            for n, v in description.params.items()
            if n not in COLORS
        }
        if drawn.thickness is not None:
            params["thickness"] = drawn.thickness
        gain, bias = (drawn.color + drawn.color.new_tensor([1.0, 0.0])).unbind(-1)
        sign = torch.where(gain < 0, -1.0, 1.0)
        gain = sign * gain.abs().clamp_min(SMALLEST_GAIN)
        undo = torch.stack([1 / gain - 1, -bias / gain], -1)
        plain = apply_color(images.flatten(2), undo).view_as(images)
        return {"image": self.model.sequence.undo(plain, params)}


def _named(parts: dict[str, NDArray], prefix: str) -> dict[str, NDArray]:
    """The entries under `prefix`, which is taken off their names."""
    return {n[len(prefix) :]: v for n, v in parts.items() if n.startswith(prefix)}
