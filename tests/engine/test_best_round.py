"""Rounds that make sprites worse are undone."""

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.training import rounds
from sklearn_sprites._engine.training.best_round import best, rivals
from sklearn_sprites._engine.training.learner import Task
from sklearn_sprites._engine.training.posed_rounds import PosedLearner
from tests.engine.test_scene_fit import posed, seed, settings, spec_of


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([9.0, 3.0, 1.0], []),
        ([9.0, 1.0, 1.04], []),
        ([9.0, 1.0, 1.2, 1.06], [1]),
        ([1.0, 3.0, 2.0, 9.0], [0, 2]),
    ],
)
def test_rivals_of_the_last_round_were_clearly_better(losses, expected):
    assert rivals(losses) == expected


def spoiled(masks):
    """Masks shifted by halves of their sides, which cuts them into pieces."""
    return masks.roll((masks.shape[1] // 2, masks.shape[2] // 2), (1, 2))


@pytest.fixture(scope="module")
def scenes():
    images = posed(60)
    return images, spec_of(images, backgrounds=1, sprite_height=16, sprite_width=16)


class Spoiling(PosedLearner):
    """Learns in two rounds, and spoils its masks after that."""

    def round(self, images, exploring):
        loss = super().round(images, exploring)
        if self.turn > 2:
            self.masks = spoiled(self.masks)
        return loss


def fitted(scenes, n_rounds):
    images, spec = scenes
    return rounds.fit_scenes(images, spec, settings(n_rounds, tol=0), seed(), "cpu")


def test_a_fit_that_gets_worse_ends_with_the_sprites_that_were_better(
    scenes, monkeypatch
):
    good = fitted(scenes, 2)
    monkeypatch.setattr(rounds, "PosedLearner", Spoiling)
    found = fitted(scenes, 4)
    assert found.loss_curve[3] > 2 * found.loss_curve[2] == 2 * found.loss
    np.testing.assert_array_equal(found.sprites, good.sprites)


def test_the_last_sprites_stay_unless_others_are_clearly_better(scenes):
    images, spec = scenes
    masks = fitted(scenes, 4).sprites
    wrong = masks.copy()
    wrong[:, -1] = spoiled(torch.from_numpy(masks[:, -1])).numpy()
    learner = PosedLearner(Task(spec, settings(), 1e-3, torch.Generator()), None)
    views = torch.from_numpy(images[:20])
    with torch.inference_mode():
        assert best([masks, masks, wrong], views, learner) == 0
        assert best([wrong, masks], views, learner) == 1
        assert best([masks * 0.999, masks], views, learner) == 0
