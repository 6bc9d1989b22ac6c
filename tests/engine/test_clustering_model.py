from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.models.build import build_model, from_fitted, to_arrays
from sklearn_sprites._engine.models.candidates import (
    borrowed_errors,
    candidate_errors,
    lend,
)
from sklearn_sprites._engine.ops.color import PULL, RIDGE, TIE, Freedom
from sklearn_sprites._engine.ops.thickness import LARGEST, PRIOR
from sklearn_sprites._engine.records import FittedModel
from sklearn_sprites._engine.spec import COLORS, SPLINE_GRID, ModelSpec
from tests import oracles
from tests.strategies import Draws, every_name, random_model

OPAQUE = ModelSpec(3, 0, 1, 6, 5, ("affine", "thin_plate_spline"))
COLORED = ModelSpec(3, 0, 2, 5, 5, ("color", "affine"))
GAINED = ModelSpec(2, 0, 2, 5, 5, ("linear_color",), color="solve")
ON_NOTHING = ModelSpec(3, 0, 2, 6, 5, ("color", "affine"), padding="zeros")
LIT = ModelSpec(3, 0, 3, 5, 5, ("light", "affine"))
GROWN = ModelSpec(3, 0, 1, 6, 5, ("color", "affine", "thickness"))
JUST_GROWN = ModelSpec(2, 0, 2, 5, 6, ("thickness",))
GROWN_PREDICTED = ModelSpec(
    2, 1, 1, 6, 5, ("thickness", "position"), ("thickness",), color="predict"
)
PREDICTED = ModelSpec(3, 0, 2, 5, 5, ("color", "projective"), color="predict")
LAYERED = ModelSpec(3, 2, 2, 6, 5, ("color", "similarity"), ("linear_color", "affine"))
FIXED = ModelSpec(1, 1, 1, 5, 6, ("translation",), ("identity",))
LIT_LAYERED = ModelSpec(2, 1, 3, 5, 6, ("light", "translation"), ("color",))
LAYERED_PREDICTED = ModelSpec(
    2, 2, 3, 5, 5, ("color", "position"), ("light",), color="predict"
)
BENT = ModelSpec(3, 1, 2, 6, 5, ("morphological", "affine"), ("identity",))
SPECS = {
    "opaque": OPAQUE,
    "colored": COLORED,
    "gained": GAINED,
    "on nothing": ON_NOTHING,
    "lit": LIT,
    "grown": GROWN,
    "just grown": JUST_GROWN,
    "grown, predicted": GROWN_PREDICTED,
    "predicted": PREDICTED,
    "layered": LAYERED,
    "lit layered": LIT_LAYERED,
    "one of each": FIXED,
    "layered predicted": LAYERED_PREDICTED,
}

every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def images_for(spec, n=4, seed=11):
    shape = (n, spec.channels, spec.height, spec.width)
    return Draws(seed).uniform(*shape).float()


def all_errors(model, images, *, is_priced=False):
    spec = model.spec
    description = model.describe(images, every_name(spec))
    every = torch.arange(spec.n_sprites).expand(len(images), -1)
    described = every, description, every_name(spec)
    return candidate_errors(model, images, *described, is_priced=is_priced)


def assert_near(found, expected, tolerance):
    """Float32 against float64."""
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)


class SlowTwin:
    """Draws one candidate at a time from the definition, in float64."""

    def __init__(self, model, images):
        self.spec, self.images = model.spec, images.double()
        self.sprites = model.sprites.detach().double()
        self.backgrounds = model.backgrounds.detach().double()
        with torch.no_grad():
            described = model.describe(images, every_name(self.spec))
        self.params = {n: v.double() for n, v in described.params.items()}
        self.behind = {n: v.double() for n, v in described.background_params.items()}

    def warp(self, image, names, params, padding):
        height, width = image.shape[-2:]
        steps = [name for name in names if name not in (*COLORS, "thickness")]
        points = [
            torch.stack(
                oracles.sequence_point(
                    steps,
                    params,
                    width / height,
                    SPLINE_GRID,
                    *torch.tensor(p).double(),
                )
                if any(name in params for name in steps)
                else torch.tensor(p).double().unbind()
            )
            for p in oracles.centers(height, width)
        ]
        drawn = oracles.sample(image[None], torch.stack(points, 1)[None], padding)[0]
        if "thickness" not in params:
            return drawn
        slope = oracles.slopes(drawn.view(1, -1, height, width), 1)
        return drawn + params["thickness"] * slope[0].flatten(1)

    def color(self, names, params, is_front):
        """Predicted colors (C, 2), and how much of them is solved instead.

        The channels of what is in front of something are tied.
        """
        found = torch.zeros(self.spec.channels, 2, dtype=torch.float64)
        name = next((name for name in names if name in COLORS), None)
        if name is not None and self.spec.color == "solve":
            freedom = {"color": 2, "linear_color": 1, "light": 3}[name]
            is_tied = is_front and len(found) > 1 and freedom == 2
            return found, 4 if is_tied else freedom
        if name == "color":
            found = params[name].view(-1, 2)
        elif name == "linear_color":
            found[:, 0] = params[name]
        elif name == "light":
            found = params[name].expand(len(found), -1)
        return found, 0

    def draw(self, b, k, m):
        spec = self.spec
        params = {n: v[b, k] for n, v in self.params.items()}
        layered = spec.n_backgrounds > 0
        padding = "zeros" if layered else spec.padding
        drawn = self.warp(self.sprites[k], spec.transformations, params, padding)
        look, alpha = drawn[: spec.channels], torch.ones_like(drawn[0])
        color, freedom = self.color(spec.transformations, params, layered)
        looks, colors, freedoms = [look], [color], [freedom]
        shares = [alpha]
        if layered:
            behind = {n: v[b, m] for n, v in self.behind.items()}
            names = spec.background_transformations
            back = self.warp(self.backgrounds[m], names, behind, "border")
            alpha = torch.stack([oracles.softclip(v) for v in drawn[-1]])
            color, freedom = self.color(names, behind, False)
            looks, colors = [look, back], [*colors, color]
            freedoms, shares = [*freedoms, freedom], [alpha, 1 - alpha]
        if "thickness" in spec.transformations and "thickness" not in params:
            looks = [self.grow(b, look, freedoms[0])]
        colors = self.solve(b, looks, shares, colors, freedoms, layered)
        parts = [
            share * oracles.apply_color(look[None], color[None])[0]
            for look, share, color in zip(looks, shares, colors, strict=True)
        ]
        return sum(parts).view(spec.channels, spec.height, spec.width), alpha

    def grow(self, b, look, freedom):
        """As much as explains an image best; of one channel, or without colors."""
        assert len(look) == 1 or not freedom
        target = self.images[b].flatten()[None]
        image = look.view(1, len(look), self.spec.height, self.spec.width)
        slope = oracles.slopes(image, 1).flatten()[None]
        weight = torch.full_like(target, 1 / target.shape[1])
        growth = oracles.thickness(
            look.flatten()[None],
            slope,
            target,
            weight,
            freedom > 0,
            freedom > 1,
            RIDGE,
            PRIOR,
        )
        return look + growth.clamp(-LARGEST, LARGEST) * slope.view(look.shape)

    def solve(self, b, looks, shares, colors, freedoms, layered):
        target = self.images[b].flatten(1)[None]
        if not any(freedoms):
            return colors
        if layered:
            solved = oracles.solve_layers(
                [look[None] for look in looks],
                [share[None, None] for share in shares],
                freedoms,
                target,
                RIDGE,
                TIE,
                PULL,
            )
            return [one[0] for one in solved]
        out = torch.zeros_like(colors[0])
        every, n_free = list(range(len(out))), min(freedoms[0], 2)
        for group in [every] if freedoms[0] == 3 else [[c] for c in every]:
            look = looks[0][group].flatten()
            columns = torch.stack([look, torch.ones_like(look)][:n_free], 1)
            found = oracles.ridge(
                columns,
                target[0, group].flatten(),
                look.new_full((len(look),), 1 / len(look)),
                [look.new_tensor(v) for v in (1.0, 0.0)][:n_free],
                [look.new_tensor(v) for v in (RIDGE, 0.0)][:n_free],
            )
            out[group, :n_free] = found
            out[group, 0] -= 1
        return [out]


@every_spec
def test_errors_and_drawings_equal_the_slow_twin(spec):
    model, images = random_model(spec, 0), images_for(spec)
    twin, errors = SlowTwin(model, images), all_errors(model, images)
    n_behind = max(spec.n_backgrounds, 1)
    assert errors.shape == (len(images), spec.n_sprites, n_behind)
    description = model.describe(images, every_name(spec))
    b = 2
    for k, m in product(range(spec.n_sprites), range(n_behind)):
        expected, alpha = twin.draw(b, k, m)
        one = [torch.tensor([i]) for i in (b, k, m)]
        drawn = model.draw(images, *one, description, every_name(spec))
        assert_near(drawn.image[0], expected, 2e-5)
        assert_near(errors[b, k, m], (expected - twin.images[b]).square().sum(), 1e-4)
        if spec.n_backgrounds:
            assert_near(drawn.alpha.flatten(), alpha, 2e-5)


@every_spec
def test_a_fresh_model_draws_its_sprites_as_they_are(spec):
    make = Draws(3)
    size = (spec.height, spec.width)
    sprites = make.uniform(spec.n_sprites, spec.sprite_channels, *size).float()
    if spec.n_backgrounds:
        sprites[:, -1] = 1  # opaque: what lies behind is hidden
    backgrounds = make.uniform(spec.n_backgrounds, spec.channels, *size).float()
    model = build_model(spec, sprites, backgrounds, make.generator).eval()
    k = torch.arange(spec.n_sprites)
    images = sprites[:, : spec.channels].contiguous()
    description = model.describe(images, every_name(spec))
    drawn = model.draw(images, k, k, 0 * k, description, every_name(spec))
    torch.testing.assert_close(drawn.image, images, rtol=0, atol=1e-6)
    if spec.color == "predict" or "color" not in "".join(every_name(spec)):
        torch.testing.assert_close(drawn.color, torch.zeros_like(drawn.color))


@every_spec
def test_nothing_active_compares_with_the_untransformed_sprites(spec):
    model, images = random_model(spec, 1), images_for(spec)
    every = torch.arange(spec.n_sprites).expand(len(images), -1)
    description = model.describe(images, frozenset())
    assert not description.params
    errors = candidate_errors(model, images, every, description, frozenset())[..., 0]
    drawn = model.sprites[:, : spec.channels]
    if spec.n_backgrounds:
        alpha = model.sprites[:, -1:]
        drawn = alpha * drawn + (1 - alpha) * model.backgrounds[:1]
    expected = (images[:, None] - drawn).square().flatten(2).sum(2)
    torch.testing.assert_close(errors, expected.detach(), rtol=1e-5, atol=1e-5)


@every_spec
def test_candidates_are_gathered_by_their_own_index(spec):
    model, images = random_model(spec, 2), images_for(spec, 5)
    everything = all_errors(model, images, is_priced=True)
    picked = torch.randint(spec.n_sprites, (5, 2), generator=Draws(0).generator)
    description = model.describe(images, every_name(spec))
    found = candidate_errors(model, images, picked, description, every_name(spec))
    expected = everything[torch.arange(5)[:, None], picked]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@every_spec
def test_parameters_for_owners_are_theirs(spec):
    model, images = random_model(spec, 4), images_for(spec, 7)
    active, owners = every_name(spec), torch.arange(7) % spec.n_sprites
    told, behind = model.parameters_of(images, active)
    seen = model.impression_of(images, active)
    found, found_behind = model.parameters_for(seen, owners)
    torch.testing.assert_close(found, lend(told, owners), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found_behind, behind, rtol=0, atol=0)


@pytest.mark.parametrize(
    "spec", [*SPECS.values(), BENT], ids=[*SPECS.keys(), "morphological"]
)
def test_borrowed_errors_are_those_of_lent_parameters(spec):
    model, images = random_model(spec, 5), images_for(spec, 5)
    active, owners = every_name(spec), torch.arange(5) % spec.n_sprites
    description = model.describe(images, active)
    lent = replace(description, params=lend(description.params, owners))
    every = torch.arange(spec.n_sprites).expand(5, -1)
    expected = candidate_errors(model, images, every, lent, active)
    found = borrowed_errors(model, images, owners, description, active)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if not s.is_layered])
def test_borrowed_errors_of_sprites_that_differ_by_owner(spec):
    model, images = random_model(spec, 6), images_for(spec, 5)
    active, owners = every_name(spec), torch.arange(5) % spec.n_sprites
    description = model.describe(images, active)
    k = spec.n_sprites
    posed = Draws(7).uniform(k, *model.sprites.shape).to(model.sprites)
    found = borrowed_errors(model, images, owners, description, active, posed)
    for owner in range(k):
        with torch.no_grad():
            model.sprites.copy_(posed[owner])
        rows = owners == owner
        expected = borrowed_errors(model, images, owners, description, active)
        torch.testing.assert_close(found[rows], expected[rows], rtol=1e-5, atol=1e-5)


@every_spec
def test_permuted_sprites_permute_errors(spec):
    model, images = random_model(spec, 3), images_for(spec)
    order = np.array([2, 0, 1])[: spec.n_sprites]
    order = np.argsort(order)[::-1].copy()
    fitted = FittedModel(spec, to_arrays(model), 0.0)
    other = from_fitted(fitted.reordered(order), "cpu").eval()
    found, expected = all_errors(other, images), all_errors(model, images)[:, order]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(fitted.reordered(order).sprites, fitted.sprites[order])


@every_spec
def test_taking_apart_and_putting_together_changes_nothing(spec):
    model, images = random_model(spec, 4), images_for(spec)
    fitted = FittedModel(spec, to_arrays(model), 0.0)
    for value in fitted.arrays.values():
        value.flags.writeable = False  # as from a read-only memory map
    again = from_fitted(fitted, "cpu").eval()
    assert torch.equal(all_errors(again, images), all_errors(model, images))
    with torch.no_grad():
        again.sprites.zero_()
    assert np.abs(fitted.sprites).sum() > 0


@every_spec
def test_every_parameter_that_draws_gets_a_gradient(spec):
    model, images = random_model(spec, 5).train(), images_for(spec, 8)
    active = every_name(spec)
    b = torch.arange(8)
    behind = b % max(spec.n_backgrounds, 1)
    description = model.describe(images, active)
    drawn = model.draw(images, b, b % spec.n_sprites, behind, description, active)
    (drawn.image - images).square().mean().backward()
    silent = {
        name
        for name, parameter in model.named_parameters()
        if parameter.numel() and (parameter.grad is None or not parameter.grad.any())
    }
    predicts = len(active - set(spec.solved)) > 0
    assert {n.partition(".")[0] for n in silent} <= (set() if predicts else {"encoder"})


def test_solved_colors_are_the_best_ones():
    model, images = random_model(COLORED, 6), images_for(COLORED)
    active = every_name(COLORED)
    description = model.describe(images, active)
    b = torch.arange(4)
    drawn = model.draw(images, b, 0 * b, 0 * b, description, active)
    best = (drawn.image - images).square().flatten(1).mean(1)
    plain = model.draw(images, b, 0 * b, 0 * b, description, active - {"color"})
    assert torch.equal(plain.color, torch.zeros_like(plain.color))
    assert (best < (plain.image - images).square().flatten(1).mean(1)).all()


def test_mask_noise_moves_alpha_alone():
    model, images = random_model(LAYERED, 7), images_for(LAYERED)
    active = frozenset(("similarity", "affine"))  # no color is solved
    description = model.describe(images, active)
    b = torch.arange(4)
    noise = torch.full((1, 1, 6, 5), -9.0)
    behind = model.draw(images, b, 0 * b, 0 * b, description, active, noise)
    assert (behind.alpha < 0).all()
    other = model.draw(images, b, 0 * b + 1, 0 * b, description, active, noise)
    gap = (behind.image - other.image).abs().max()
    assert gap < 0.2  # the sprite is (all but) gone, whichever it is
    clear = model.draw(images, b, 0 * b, 0 * b, description, active)
    assert (clear.image - behind.image).abs().max() > 0.2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_backgrounds", [0, 1])
def test_colors_are_tied_where_a_colored_sprite_lies_over_something(
    channels, n_backgrounds
):
    spec = ModelSpec(2, n_backgrounds, channels, 6, 5, ("color", "affine"), ("color",))
    front, behind = random_model(spec, 0).freedoms(every_name(spec))
    is_tied = n_backgrounds > 0 and channels > 1
    assert front == (Freedom.TIED if is_tied else Freedom.FULL)
    assert behind == Freedom.FULL
