"""Sprites by gradient steps under layers that search finds."""

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.sprites import received
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.gradient_rounds import BRIGHTEST, GradientLearner
from sklearn_sprites._engine.training.learner import Task
from sklearn_sprites._engine.training.rounds import fit_scenes
from sklearn_sprites._engine.training.shifted_rounds import ShiftedLearner
from tests.engine.test_scene_fit import posed
from tests.scenes import make_scenes

IMAGES = np.ascontiguousarray(
    make_scenes(48, side=14)[0].transpose(0, 3, 1, 2), np.float32
)
ON_BLACK = SceneSpec(3, 2, 0, 3, 14, 14, 7, 7)
ON_LEVEL = SceneSpec(3, 2, 1, 3, 14, 14, 7, 7, ("translation",), "flat")
OVER_A_PICTURE = SceneSpec(
    *(3, 2, 1, 3, 14, 14, 8, 8), ("translation",), "gain", "solve", "image"
)
POSED = SceneSpec(2, 2, 1, 3, 32, 32, 16, 16, ("similarity",), "flat")
BRIEF = SearchPlan(sweeps=1, restarts=0, replacements=0, rotations=6)


def fit(spec, update, rounds, images=IMAGES, seed=0):
    settings = SceneSettings(BRIEF, max_rounds=rounds, sprite_update=update)
    return fit_scenes(images, spec, settings, np.random.SeedSequence(seed), "cpu")


def luckiest(rounds):
    """By steps, half of all starts end with a sprite that two shapes share."""
    found = [fit(ON_BLACK, "gradient", rounds, seed=seed) for seed in range(4)]
    return min(found, key=lambda each: each.loss)


def test_steps_lower_the_error_on_black():
    found = luckiest(3)
    assert found.loss_curve[-1] < 0.1 * found.loss_curve[0]
    assert found.sprites.shape == (3, 4, 7, 7)


def test_steps_lower_the_error_of_masks_in_any_pose():
    found = fit(POSED, "gradient", 2, posed(48))
    assert found.loss_curve[-1] < 0.8 * found.loss_curve[0]
    assert found.sprites.shape == (2, 4, 16, 16)


def test_steps_lower_the_error_of_shaded_sprites_over_a_picture():
    picture = np.random.default_rng(0).random((3, 14, 14)).astype(np.float32) / 2
    shown = IMAGES.max(1, keepdims=True) > 0
    found = fit(OVER_A_PICTURE, "gradient", 3, np.where(shown, IMAGES, picture))
    assert found.loss_curve[-1] < 0.9 * found.loss_curve[0]
    assert found.sprites.shape == (3, 4, 8, 8)


def test_steps_end_where_least_squares_does():
    by_steps, solved = luckiest(8), fit(ON_BLACK, "closed_form", 4)
    assert by_steps.loss < 1e-4
    assert solved.loss < 1e-4


def test_the_same_seed_gives_the_same_sprites():
    one, again = fit(ON_BLACK, "gradient", 2), fit(ON_BLACK, "gradient", 2)
    np.testing.assert_array_equal(one.sprites, again.sprites)


@pytest.mark.parametrize("spec", [ON_BLACK, ON_LEVEL], ids=["black", "level"])
def test_sprites_keep_their_gauge(spec):
    draws = torch.Generator().manual_seed(0)
    task = Task(spec, SceneSettings(BRIEF), 0.1, draws)
    first = np.random.default_rng(0).random((3, 4, 7, 7)).astype(np.float32)
    start = ShiftedLearner(task, received(first, spec, "cpu"))
    learner = GradientLearner(task, start)
    images = torch.from_numpy(IMAGES[:20])
    with torch.no_grad():
        learner.begin(images)
        before = learner.planes.clone()
        learner.round(images, exploring=True)
    planes = learner.planes.detach()
    assert not torch.equal(planes, before)
    assert planes.min() >= 0
    assert planes.max() <= 1
    top = planes.flatten(2).quantile(BRIGHTEST, 2)
    torch.testing.assert_close(top, torch.ones(3, 1), atol=0.05, rtol=0)


def test_images_without_objects_leave_sprites_as_they_are():
    found = fit(ON_BLACK, "gradient", 1, np.zeros_like(IMAGES))
    assert np.isfinite(found.sprites).all()
    assert found.loss == 0
