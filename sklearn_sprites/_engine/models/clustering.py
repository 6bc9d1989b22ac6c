"""One object per image: transformed sprites, opaque or over backgrounds."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.modules.families import rigid_name
from sklearn_sprites._engine.modules.heads import GroupedHead
from sklearn_sprites._engine.modules.polar import as_parameters, told_count
from sklearn_sprites._engine.modules.pose_search import PoseSearch
from sklearn_sprites._engine.modules.transformations import make_sequence
from sklearn_sprites._engine.ops.color import (
    FREEDOMS,
    Freedom,
    apply_color,
    solve_color,
    solve_layers,
)
from sklearn_sprites._engine.ops.compositing import over, softclip
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.ops.sampling import pad_to_canvas
from sklearn_sprites._engine.ops.thickness import LARGEST, slopes, solve_growth
from sklearn_sprites._engine.spec import COLORS, ModelSpec

ALL_COLORS = frozenset(COLORS)


@dataclass(frozen=True)
class Description:
    """What is known of images before anything is drawn in front.

    Parameters that the network predicts, name -> (B, K, p) and (B, M, p), and the
    transformed backgrounds (B * M, C, H, W), without their colors.
    """

    params: dict[str, Tensor]
    background_params: dict[str, Tensor]
    backs: Tensor | None


class Impression(NamedTuple):
    """What the network makes of images, before it tells the parameters of a sprite.

    Transformations of sprites and of backgrounds, by name: what a head has hidden,
    (B, h); or parameters (B, K, p) that are searched.
    """

    fronts: dict[str, Tensor]
    behind: dict[str, Tensor]


class Drawn(NamedTuple):
    """Candidates as drawn: image (m, C, H, W), alpha, and what was solved."""

    image: Tensor
    alpha: Tensor | None  # (m, 1, H, W)
    color: Tensor  # (m, C, 2)
    background_color: Tensor  # (m, C, 2)
    thickness: Tensor | None = None  # (m, 1), where it is solved


def color_of(names: tuple[str, ...]) -> str | None:
    """The color transformation among `names`, if any."""
    return next((name for name in names if name in COLORS), None)


def _head(heads: nn.ModuleDict, name: str) -> GroupedHead:
    head = heads[name]
    assert isinstance(head, GroupedHead)
    return head


def _sound(name: str, told: Tensor) -> Tensor:
    # NaN would crash the sampler; that weights are NaN shows in the loss
    return as_parameters(name, told).nan_to_num()


class ClusteringModel(nn.Module):
    """K sprites, M backgrounds, and the network that says how an image draws them.

    Images come centered where ``is_centered`` says so: whoever holds the images sees to
    it (:mod:`sklearn_sprites._engine.ops.centering`).

    Letters: B images, K sprites, M backgrounds, C channels, D sprite channels, H W
    image, P pixels, m candidates (an image, a sprite and a background each).
    """

    is_centered: Tensor
    pixel_weights: Tensor | None

    def __init__(
        self,
        spec: ModelSpec,
        sprites: Tensor,
        backgrounds: Tensor,
        encoder: tuple[nn.Module, int],
        generator: torch.Generator,
        pixel_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        #: What the squared error of a pixel counts, (H, W), one on average; or nothing.
        self.register_buffer("pixel_weights", pixel_weights)
        self.sprites = nn.Parameter(sprites)  # (K, D, H, W)
        self.backgrounds = nn.Parameter(backgrounds)  # (M, C, H, W)
        self.encoder, n_features = encoder
        self.search = self._search() if spec.is_searched else None
        names, behind = spec.transformations, spec.background_transformations
        self.heads = self._heads(names, spec.n_sprites, n_features, generator)
        self.background_heads = self._heads(
            behind, spec.n_backgrounds, n_features, generator
        )
        self.padding = "zeros" if spec.is_layered else spec.padding
        size, device = (spec.height, spec.width), sprites.device
        #: Whether images are to be centered before the model looks at them.
        self.register_buffer("is_centered", torch.zeros((), dtype=torch.bool))
        self.sequence = make_sequence(names, *size, self.padding, device)
        self.background_sequence = make_sequence(behind, *size, "border", device)
        self.to(device)

    def _search(self) -> PoseSearch:
        name, (front, back) = rigid_name(self.spec), self.freedoms(ALL_COLORS)
        assert name is not None, "there is no pose to search"
        size, device = self.spec.coarse_size, self.sprites.device
        return PoseSearch(name, (front, back), size, device)

    def _heads(
        self,
        names: tuple[str, ...],
        groups: int,
        features: int,
        generator: torch.Generator,
    ) -> nn.ModuleDict:
        solved = self.spec.solved
        searched = None if self.search is None else self.search.name
        return nn.ModuleDict(
            {
                name: GroupedHead(
                    features,
                    groups,
                    told_count(name, self.spec.channels),
                    generator,
                )
                for name in names
                if groups and name not in solved and name != searched
            }
        )

    def describe(self, images: Tensor, active: frozenset[str]) -> Description:
        """Predict for (B, C, H, W) with the active transformations, and look behind."""
        return self.look_behind(*self.parameters_of(images, active), len(images))

    def look_behind(
        self, params: dict[str, Tensor], behind: dict[str, Tensor], n_images: int
    ) -> Description:
        """The description that predicted parameters make."""
        if not self.spec.is_layered:
            return Description(params, behind, None)
        n_behind = self.spec.n_backgrounds
        device = self.backgrounds.device
        each = torch.arange(n_behind, device=device).repeat(n_images)
        spatial = {n: v.flatten(0, 1) for n, v in behind.items() if n not in COLORS}
        canvas = pad_to_canvas(self.backgrounds, "border").index_select(0, each)
        backs = self.background_sequence.apply(canvas, spatial)
        return Description(params, behind, backs)

    def parameters_of(
        self, images: Tensor, active: frozenset[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Predicted parameters of sprites and of backgrounds."""
        seen = self.impression_of(images, active)
        if self.search is not None:
            return seen.fronts, {}
        fronts = {
            n: _sound(n, _head(self.heads, n).tell(h)) for n, h in seen.fronts.items()
        }
        return fronts, self._told_behind(seen)

    def parameters_for(
        self, seen: Impression, owners: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Such parameters, where all sprites have those of one of them, `owners` (B,).

        Nothing is told of the others, which is most of the work.
        """
        rows = torch.arange(len(owners), device=owners.device)
        own = {
            n: found[rows, owners]
            if self.search is not None
            else _sound(n, _head(self.heads, n).tell_one(found, owners))
            for n, found in seen.fronts.items()
        }
        lent = {
            n: values[:, None].expand(-1, self.spec.n_sprites, -1)
            for n, values in own.items()
        }
        return lent, self._told_behind(seen)

    def impression_of(self, images: Tensor, active: frozenset[str]) -> Impression:
        """What the network makes of images (B, C, H, W)."""
        if self.search is not None:
            backs = self.backgrounds if self.spec.is_layered else None
            found = self.search(images, self.sprites, backs)
            return Impression({self.search.name: found}, {})
        wanted = [n for n in self.heads if n in active]
        behind = [n for n in self.background_heads if n in active]
        if not wanted and not behind:
            return Impression({}, {})
        seen = self._without_hidden(images)
        features = self.encoder(resized(seen, self.spec.coarse_size))
        return Impression(
            {n: _head(self.heads, n).hidden(features) for n in wanted},
            {n: _head(self.background_heads, n).hidden(features) for n in behind},
        )

    def _told_behind(self, seen: Impression) -> dict[str, Tensor]:
        heads = self.background_heads
        return {n: _sound(n, _head(heads, n).tell(h)) for n, h in seen.behind.items()}

    def draw(
        self,
        images: Tensor,
        rows: Tensor,
        sprites: Tensor,
        behind: Tensor,
        description: Description,
        active: frozenset[str],
        noise: Tensor | None = None,
    ) -> Drawn:
        """Draw candidates.

        Parameters
        ----------
        images : (B, C, H, W), what is to be explained: colors are solved against it.
        rows, sprites, behind : (m,), a candidate's image, sprite and background.
        description : parameters predicted for the images.
        active : names of the transformations in use.
        noise : (1, 1, H, W) added to masks in training.
        """
        drawn = self.front(rows, sprites, description)
        target = images.index_select(0, rows)
        return self.finish(
            drawn, target, rows, sprites, behind, description, active, noise
        )

    def finish(
        self,
        drawn: Tensor,
        target: Tensor,
        rows: Tensor,
        sprites: Tensor,
        behind: Tensor,
        description: Description,
        active: frozenset[str],
        noise: Tensor | None,
    ) -> Drawn:
        """Candidates whose sprites are drawn, with their colors and backgrounds."""
        params, behind_params = (
            {n: v[rows, which] for n, v in told.items() if n in COLORS}
            for told, which in (
                (description.params, sprites),
                (description.background_params, behind),
            )
        )
        if not self.spec.is_layered:
            return self._recolor(drawn, target, params, active)
        layers = self.layers(drawn, rows, behind, description, noise)
        return self._compose(layers, target, params, behind_params, active)

    def front(
        self,
        rows: Tensor,
        sprites: Tensor,
        description: Description,
        own: Tensor | None = None,
    ) -> Tensor:
        """Candidates' sprites, transformed: (m, D, H, W)."""
        spatial = {
            n: v[rows, sprites]
            for n, v in description.params.items()
            if n not in COLORS
        }
        if own is not None:
            return self.sequence.apply(pad_to_canvas(own, self.padding), spatial)
        canvas = pad_to_canvas(self.sprites, self.padding)
        return self.sequence.apply(canvas.index_select(0, sprites), spatial)

    def layers(
        self,
        drawn: Tensor,
        rows: Tensor,
        behind: Tensor,
        description: Description,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Front (m, C, P), mask (m, 1, P) and background (m, C, P) of candidates."""
        assert description.backs is not None, "describe draws the backgrounds"
        index = rows * self.spec.n_backgrounds + behind
        back = description.backs.index_select(0, index)
        alpha = drawn[:, -1:] if noise is None else drawn[:, -1:] + noise
        return drawn[:, :-1].flatten(2), softclip(alpha.flatten(2)), back.flatten(2)

    @property
    def flat_weights(self) -> Tensor | None:
        """What pixels count, (P,), or None."""
        return None if self.pixel_weights is None else self.pixel_weights.flatten()

    def _without_hidden(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), plain in pixels that count nothing."""
        weights = self.pixel_weights
        if weights is None:
            return images
        plain = (images * weights).mean((2, 3), keepdim=True)
        return torch.where(weights > 0, images, plain)

    def squared(self, differences: Tensor) -> Tensor:
        """Squares of differences (m, C, H, W) between images, as they count."""
        squares = differences.square()
        return squares if self.pixel_weights is None else squares * self.pixel_weights

    def _freedom(self, names: tuple[str, ...], active: frozenset[str]) -> Freedom:
        """What is solved of the colors."""
        name = color_of(names)
        if self.spec.color != "solve" or name not in active:
            return Freedom.NONE
        return FREEDOMS[name]

    def freedoms(self, active: frozenset[str]) -> list[Freedom]:
        """The sprites' freedom and the backgrounds'.

        A colored sprite over backgrounds could hide what tells it from others under a
        bias, in one channel or in all, and end where they do: its colors are tied.
        """
        spec = self.spec
        names = (spec.transformations, spec.background_transformations)
        front, behind = (self._freedom(n, active) for n in names)
        is_tied = spec.is_layered and spec.channels > 1 and front == Freedom.FULL
        return [Freedom.TIED if is_tied else front, behind]

    def _predicted_color(self, params: dict[str, Tensor], like: Tensor) -> Tensor:
        """Predicted colors (m, C, 2), zeros where there are none."""
        if "color" in params:
            return params["color"].view(len(like), -1, 2)
        if "light" in params:
            return params["light"][:, None].expand(-1, like.shape[1], -1)
        zeros = like.new_zeros((*like.shape[:2], 2))
        if "linear_color" in params:
            return torch.stack([params["linear_color"], zeros[..., 1]], -1)
        return zeros

    def _recolor(
        self,
        drawn: Tensor,
        target: Tensor,
        params: dict[str, Tensor],
        active: frozenset[str],
    ) -> Drawn:
        # At the optimum the loss does not change with what is solved to first order,
        # so no gradient needs to pass through the solution.
        freedom = self._freedom(self.spec.transformations, active)
        share = self.flat_weights
        share = None if share is None else (share / share.sum())[None, None]
        flat, aim, growth = drawn.flatten(2), target.flatten(2), None
        if self._solves_thickness(active):
            steep = slopes(drawn, self.sequence.step).flatten(2)
            most, seen = LARGEST * self.sequence.step, (flat, steep, aim, share)
            growth, color = solve_growth(*seen, freedom=freedom, largest=most)
            flat = torch.addcmul(flat, steep, growth[..., None])
        elif freedom:
            with torch.no_grad():
                color = solve_color(flat, aim, share, freedom=freedom)
        else:
            color = self._predicted_color(params, drawn)
        if freedom or params:
            flat = apply_color(flat, color)
        nothing = torch.zeros_like(color)
        return Drawn(flat.view_as(drawn), None, color, nothing, growth)

    def _solves_thickness(self, active: frozenset[str]) -> bool:
        """Whether opaque sprites grow as explains an image best."""
        name = "thickness"
        has_it = name in self.spec.transformations and name in active
        return has_it and name in self.spec.solved

    def _compose(
        self,
        layers: tuple[Tensor, Tensor, Tensor],
        target: Tensor,
        params: dict[str, Tensor],
        behind_params: dict[str, Tensor],
        active: frozenset[str],
    ) -> Drawn:
        front, alpha, behind = layers
        freedoms = self.freedoms(active)
        color = self._predicted_color(params, front)
        back_color = self._predicted_color(behind_params, behind)
        if any(freedoms):
            with torch.no_grad():
                color, back_color = solve_layers(
                    [front, behind],
                    [alpha, 1 - alpha],
                    freedoms,
                    target.flatten(2),
                    self.flat_weights,
                )
        composite = over(
            apply_color(front, color), alpha, apply_color(behind, back_color)
        )
        shape = target.shape
        mask = alpha.view(len(target), 1, *shape[2:])
        return Drawn(composite.view(shape), mask, color, back_color)
