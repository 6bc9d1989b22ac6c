"""What alignment tells the network before training, of a part of a large set."""

import pytest
import torch

from sklearn_sprites._engine.models.build import build_model
from sklearn_sprites._engine.ops import alignment
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training import start
from sklearn_sprites._engine.training.distillation import distil
from sklearn_sprites._engine.training.ledger import Ledger
from sklearn_sprites._engine.training.loop import Learner, make_optimizer
from tests.pictures import make_pictures

SPEC = ModelSpec(3, 0, 1, 8, 8, ("affine",))


@pytest.fixture
def images():
    X, _ = make_pictures(n=60)
    return torch.from_numpy(X).float()[:, None]


def learned(images):
    """Sprites, and a lesson with them."""
    draws = torch.Generator().manual_seed(0)
    sprites, lesson, _ = start.aligned_start(images, SPEC, draws, may_center=False)
    return sprites, lesson


@pytest.mark.parametrize("most", [20, 1000])
def test_a_lesson_tells_of_so_many_images_and_which(images, monkeypatch, most):
    monkeypatch.setattr(start, "TAUGHT", most)
    sprites, lesson = learned(images)
    assert len(lesson.rows.unique()) == len(lesson.labels) == min(most, len(images))
    family = start.first_family(images, SPEC, "affine")
    found = alignment.survey(images[lesson.rows], sprites, family)
    assert torch.equal(found.labels, lesson.labels)
    torch.testing.assert_close(found.matrices, lesson.params["affine"])


def test_the_network_learns_what_the_lesson_tells_of_these(images, monkeypatch):
    monkeypatch.setattr(start, "TAUGHT", 20)
    sprites, lesson = learned(images)
    draws = torch.Generator().manual_seed(0)
    model = build_model(SPEC, sprites, images[:0], draws)
    learner = Learner(
        model,
        make_optimizer(model, 1e-3, 0.0),
        images,
        Ledger(torch.zeros(60, 3)),
        draws,
        draws,
        16,
        0.0,
        torch.ones(60),
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(3, dtype=torch.int64),
    )
    wanted = lesson.params["affine"]

    def missed():
        told, _ = model.parameters_of(images[lesson.rows], frozenset({"affine"}))
        own = told["affine"][torch.arange(20), lesson.labels]
        return float((own - wanted).square().mean().detach())

    before = missed()
    distil(learner, lesson)
    assert missed() < 0.5 * before
