"""Learned sprites found in images, and records turned back into images.

Batches are padded to :data:`BATCH` images, so that every image passes the same kernels
whatever the number, the order and the company of images; nothing is drawn at random.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.models.scene_build import build_guesser, with_arrays
from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.modules.maps import folded
from sklearn_sprites._engine.ops.ground import TERMS, lit
from sklearn_sprites._engine.ops.layers import clear_share, compose, free_share
from sklearn_sprites._engine.ops.resizing import in_pixels_of
from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.scene_records import (
    FittedScenes,
    LayerRecord,
    Rendered,
    pose_fields,
)
from sklearn_sprites._engine.scene_settings import Distilled
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import BATCH, by_parts, take
from sklearn_sprites._engine.search.ground import (
    Ground,
    evened,
    find_ground,
    make_views,
)
from sklearn_sprites._engine.search.guesses import exact
from sklearn_sprites._engine.search.improve import improved
from sklearn_sprites._engine.search.layers import (
    Layers,
    draw,
    layer_biases,
    layer_colors,
)
from sklearn_sprites._engine.search.painted_layers import painted_layers
from sklearn_sprites._engine.search.scene import (
    Found,
    Searcher,
    in_whole_pixels,
    make_finisher,
    make_searcher,
    sought,
)
from sklearn_sprites._engine.search.sprites import pooled, received
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.workers import side_by_side

GUESSED = 2**17  # pixels in a batch that a network looks at,
FEWEST, MOST = 32, 64  # and images
CHUNK = 24 * BATCH  # images whose layers are in memory at once, on all cores
MANY = 2  # times as many where a network guesses: only some are searched
LEAST = 64  # of these for a core: batches of what is searched again are then full


def _guessed_at_once(spec: SceneSpec) -> int:
    """How many images a network looks at: cores share few large ones more evenly."""
    many = GUESSED // (spec.height * spec.width)
    return min(max(many, FEWEST), MOST)


class Guesser:
    """Layers of views by a network, made exact."""

    def __init__(
        self, arrays: dict[str, NDArray], searcher: Searcher, settings: Distilled
    ) -> None:
        some = torch.Generator().manual_seed(0)  # every weight is overwritten
        network = with_arrays(build_guesser(searcher.spec, settings, some), arrays)
        self.network = folded(network.to(searcher.sprites.planes.device).eval())
        self.searcher, self.polish = searcher, settings.polish

    def __call__(self, views: list[Tensor]) -> Found:
        """The layers of batches."""
        guesses = [self.network(batch)[:2] for batch in views]
        guess = LayerGuess(*(torch.cat(each) for each in zip(*guesses, strict=True)))
        return exact(torch.cat(views), guess, self.searcher, self.polish)


class ScenePredictor:
    """Finds the layers of images, and draws layers.

    Parameters
    ----------
    fitted : FittedScenes
        Sprites and backgrounds.
    search : SearchPlan
        How layers are sought.
    penalty : float
        What a layer must save, in squared error summed over an image.
    device : str
        Where to compute.
    guesses : Distilled or None, default=None
        What the network of `fitted` was made by; it guesses layers then.
    """

    def __init__(
        self,
        fitted: FittedScenes,
        search: SearchPlan,
        penalty: float,
        device: str,
        guesses: Distilled | None = None,
    ) -> None:
        self.spec, self.device = fitted.spec, device
        with isolated(grad=False):
            inner, side = fitted.spec.reduced(), fitted.spec.reduction
            sprites = received(pooled(fitted.sprites, side), inner, device)
            self.searcher = make_searcher(inner, search, penalty / side**2, sprites)
            self.sprites = received(fitted.sprites, fitted.spec, device)
            self.pictures = torch.from_numpy(np.array(fitted.backgrounds)).to(device)
            self.small_pictures = in_pixels_of(self.pictures, side)
            self.finisher: Searcher | None = None
            if self.spec.has_details:
                self.finisher = make_finisher(
                    self.spec.sought(), search, penalty, self.sprites
                )
            self.guesser: Guesser | None = None
            if guesses is not None:
                self.guesser = Guesser(fitted.network, self.searcher, guesses)
            self.size = BATCH if guesses is None else _guessed_at_once(inner)

    def decompose(self, images: NDArray) -> LayerRecord:
        """The layers of images (n, C, H, W) float32, in model units."""
        size = self._chunk(len(images))

        def find(start: int) -> LayerRecord:
            with torch.inference_mode():  # operations start sooner
                return self._find(images[start : start + size])

        with isolated(grad=False):
            starts = range(0, max(len(images), 1), size)
            parts = side_by_side(find, starts, self.device)
            whole = LayerRecord.concatenate(parts)
        return whole.take(slice(0, len(images)))

    def _chunk(self, n: int) -> int:
        """How many of n images are searched together: equal shares of whole batches."""
        most = CHUNK if self.guesser is None else MANY * CHUNK
        if not self.device.startswith("cpu"):
            return most
        n_threads = torch.get_num_threads()
        limit = max(most // n_threads, LEAST)
        turns = max(-(-n // (n_threads * limit)), 1)
        share = -(-n // (turns * n_threads * self.size))
        return max(min(share, limit // self.size), 1) * self.size

    def views(self, images: NDArray) -> Tensor:
        """Images as they are searched, (n, D, H', W'), on the CPU."""
        with isolated(grad=False):
            parts = [self._views(batch)[0].cpu() for batch in self._batches(images)]
        return torch.cat(parts)[: len(images)]

    def _views(self, batch: Tensor) -> tuple[Tensor, Ground | None]:
        """One batch as it is searched, and the ground where it is a picture."""
        small = in_pixels_of(batch, self.spec.reduction)
        if not self.spec.has_picture:
            return small, None
        ground = find_ground(small, self.small_pictures, self.spec)
        if self.spec.evens:
            return evened(small, ground), ground
        return make_views(small, ground, self.searcher.spec), ground

    def _find(self, images: NDArray) -> LayerRecord:
        """The layers of a chunk of images, padded to whole batches."""
        batches = list(self._batches(images))
        pairs = [self._views(batch) for batch in batches]
        found = self._found([views for views, _ in pairs])
        grounds = [ground for _, ground in pairs if ground is not None]
        record = self._record(self._in_whole_pixels(batches, grounds, found))
        is_whole = self.spec.reduction == 1 or self.finisher is not None
        if is_whole and not grounds:
            return record
        return self._completed(record, grounds, batches)

    def _found(self, views: list[Tensor]) -> Found:
        if self.guesser is not None:
            return self.guesser(views)
        if self.searcher.spec.has_own_colors:
            return painted_layers(views, self.searcher)
        images = torch.cat(views)
        found = sought(images, self.searcher, BATCH)
        return improved(images, found, self.searcher, BATCH)

    def _in_whole_pixels(
        self, batches: list[Tensor], grounds: list[Ground], found: Found
    ) -> Found:
        """Layers before a level made exact, if they were found in reduced images."""
        if self.finisher is None:
            return found
        if self.spec.evens:
            pairs = zip(batches, map(self._enlarged, grounds), strict=True)
            batches = [evened(batch, ground) for batch, ground in pairs]
        images, side, finisher = torch.cat(batches), self.spec.reduction, self.finisher

        def exact(part: Tensor) -> Found:
            return in_whole_pixels(images[part], take(found, part), side, finisher)

        return by_parts(exact, len(images), BATCH, images.device)

    def _enlarged(self, ground: Ground) -> Ground:
        """The ground in whole pixels."""
        return ground._replace(drawn=lit(self.pictures[ground.picture], ground.light))

    def _completed(
        self, record: LayerRecord, grounds: list[Ground], batches: list[Tensor]
    ) -> LayerRecord:
        """With any ground, in whole pixels, and with the error of what is drawn."""
        side = self.spec.reduction if self.finisher is None else 1
        count = len(record.x)
        record = replace(
            record,
            x=record.x * side,
            y=record.y * side,
            saves=record.saves * side**2,
        )
        if grounds:
            light = torch.cat([each.light for each in grounds]).cpu().numpy().copy()
            picture = torch.cat([each.picture for each in grounds])
            record = replace(
                record,
                background=picture.cpu().numpy().copy(),
                background_gain=light[..., 0].copy(),
                background_light=light[..., 1:].copy(),
            )
        errors = []
        starts = range(0, count, self.size)
        for start, batch in zip(starts, batches, strict=True):
            drawn = self._draw(record.take(slice(start, start + self.size)))[0]
            errors.append(np.square(batch.cpu().numpy() - drawn).sum((1, 2, 3)))
        return replace(record, error=np.concatenate(errors))

    def render(self, record: LayerRecord) -> Rendered:
        """Draw records, edited or not."""
        n = len(record)
        with isolated(grad=False):
            parts = []
            for start in range(0, max(n, 1), BATCH):
                rows = np.minimum(np.arange(start, start + BATCH), max(n - 1, 0))
                parts.append(self._draw(record.take(rows)))
            columns = [
                np.concatenate(column)[:n] for column in zip(*parts, strict=True)
            ]
        return Rendered(*columns)

    def _batches(self, images: NDArray) -> Iterator[Tensor]:
        shape = (self.size, *images.shape[1:])
        for start in range(0, max(len(images), 1), self.size):
            part = images[start : start + self.size]
            batch = np.zeros(shape, np.float32)
            batch[: len(part)] = part
            yield torch.from_numpy(batch).to(self.device)

    def _record(self, found: Found) -> LayerRecord:
        """To NumPy, the layers that save most first."""
        spec, layers, picture = self.searcher.spec, found.layers, found.picture
        key = torch.where(layers.on > 0, found.saves, -torch.inf)
        order = key.sort(dim=1, descending=True, stable=True).indices  # (B, L)

        def sort(values: Tensor) -> NDArray:
            index = order.view(*order.shape, *[1] * (values.dim() - 2))
            moved = values.gather(1, index.expand(-1, -1, *values.shape[2:]))
            return moved.cpu().numpy().copy()

        on = sort(layers.on) > 0
        pose = sort(layers.pose) * on[..., None]
        gain = sort(layer_colors(picture, spec)) * on[..., None]
        biases = layer_biases(picture, spec)
        bias = np.zeros_like(gain) if biases is None else sort(biases) * on[..., None]
        over = np.take_along_axis(sort(layers.over), order.cpu().numpy()[:, None], 2)
        flat = (
            picture.colors[:, 0]
            if spec.has_level
            else picture.colors.new_zeros((len(order), spec.channels))
        )
        level = flat.cpu().numpy().copy()
        return LayerRecord(
            sprite=np.where(on, sort(layers.sprite), -1),
            **pose_fields(pose),
            gain=gain,
            bias=bias,
            over=(over > 0) & on[:, :, None] & on[:, None],
            saves=sort(found.saves) * on,
            background=np.zeros(len(on), np.int64),
            background_gain=level,
            background_bias=np.zeros_like(level),
            background_light=np.zeros((*level.shape, TERMS - 1), np.float32),
            background_pose=np.zeros((len(on), 0), np.float32),
            background_spline=np.zeros((len(on), 0, 2), np.float32),
            error=picture.error.cpu().numpy().copy(),
        )

    def _behind(self, record: LayerRecord) -> Tensor:
        """Backgrounds of records, (B, C, H, W)."""
        light = np.concatenate(
            [record.background_gain[..., None], record.background_light], -1
        )
        index = torch.from_numpy(np.array(record.background)).to(self.device)
        gain = torch.from_numpy(light.astype(np.float32)).to(self.device)
        bias = torch.from_numpy(np.array(record.background_bias, np.float32))
        return lit(self.pictures[index], gain) + bias.to(self.device)[..., None, None]

    def _draw(self, record: LayerRecord) -> tuple[NDArray, NDArray, NDArray]:
        """Images, masks and visible masks of one batch."""

        def tensor(values: NDArray) -> Tensor:
            return torch.from_numpy(np.array(values, np.float32)).to(self.device)

        spec = self.spec
        sprite = torch.from_numpy(np.array(record.sprite)).to(self.device)
        over, on = tensor(record.over), (sprite >= 0).float()
        layers = Layers(sprite.clamp_min(0), tensor(record.pose()), on, over)
        drawn = draw(self.sprites, layers, spec.height, spec.width)
        alpha = drawn[:, :, -1]
        free, gain = free_share(alpha, over), tensor(record.gain)
        if spec.has_own_colors:
            image = (free[:, :, None] * drawn[:, :, :-1] * gain[..., None, None]).sum(1)
        else:
            image = compose(free * drawn[:, :, 0], gain)
        image = image + compose(free * alpha, tensor(record.bias))
        if spec.n_backgrounds:
            image = image + clear_share(alpha) * self._behind(record)
        images, masks, visible = (
            t.cpu().numpy().copy() for t in (image, alpha, free * alpha)
        )
        return images, masks, visible
