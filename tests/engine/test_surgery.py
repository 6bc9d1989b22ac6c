import pytest
import torch

from sklearn_sprites._engine.records import is_per_sprite
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.adam import adam_of
from sklearn_sprites._engine.training.surgery import copy_rows, set_sprite
from tests.strategies import Draws, every_name, random_model

SPEC = ModelSpec(
    4, 2, 1, 6, 6, ("color", "affine"), ("color", "translation"), color="predict"
)
MOMENTS = ("first", "second")


def step(model, optimizer, images):
    """One gradient step through every sprite."""
    b = torch.arange(len(images))
    model.train()
    description = model.describe(images, every_name(SPEC))
    drawn = model.draw(images, b, b % 4, b % 2, description, every_name(SPEC))
    optimizer.zero_grad()
    (drawn.image - images).square().sum().backward()
    optimizer.step()


@pytest.fixture
def trained():
    model = random_model(SPEC, 0)
    optimizer = adam_of(model.parameters(), 1e-2)
    images = Draws(1).uniform(8, 1, 6, 6).float()
    for _ in range(3):
        step(model, optimizer, images)
    return model, optimizer, images


def everything(model, optimizer):
    """Parameters and moments as (name, is per sprite, tensor)."""
    for name, parameter in model.named_parameters():
        yield name, is_per_sprite(name), parameter.detach()
        for moment in MOMENTS:
            value = getattr(optimizer.moments[parameter], moment)
            yield f"{name} {moment}", is_per_sprite(name), value


def test_the_parameters_of_sprites_are_known_by_name(trained):
    model, _, _ = trained
    per_sprite = {n for n, _ in model.named_parameters() if is_per_sprite(n)}
    assert per_sprite == {
        "sprites",
        *(
            f"heads.{name}.group_{kind}"
            for name in ("color", "affine")
            for kind in ("weight", "bias")
        ),
    }


def test_copied_rows_take_their_moments_along_and_nothing_else_changes(trained):
    model, optimizer, _ = trained
    before = {name: v.clone() for name, _, v in everything(model, optimizer)}
    copy_rows(model, optimizer, source=2, target=0)
    for name, per_sprite, value in everything(model, optimizer):
        expected = before[name].clone()
        if per_sprite:
            assert not torch.equal(expected[0], expected[2]), name
            expected[0] = expected[2]
        assert torch.equal(value, expected), name


def test_copies_do_not_share_memory(trained):
    model, optimizer, images = trained
    copy_rows(model, optimizer, source=2, target=0)
    images = images.clone()
    step(model, optimizer, images)  # rows 0 and 2 draw different images
    for name, per_sprite, value in everything(model, optimizer):
        if per_sprite:
            assert not torch.equal(value[0], value[2]), name


def test_equal_rows_stay_equal_under_equal_gradients(trained):
    model, optimizer, images = trained
    copy_rows(model, optimizer, source=1, target=0)
    twice = images[:1].expand(8, -1, -1, -1).contiguous()
    b = torch.arange(8)
    description = model.describe(twice, every_name(SPEC))
    drawn = model.draw(twice, b, b % 2, 0 * b, description, every_name(SPEC))
    optimizer.zero_grad()
    (drawn.image - twice).square().sum().backward()
    optimizer.step()
    for name, per_sprite, value in everything(model, optimizer):
        if per_sprite:
            torch.testing.assert_close(
                value[0], value[1], rtol=1e-4, atol=1e-6, msg=name
            )


def test_rows_can_be_copied_before_the_first_step_and_without_an_optimizer():
    model = random_model(SPEC, 0)
    optimizer = adam_of(model.parameters())
    copy_rows(model, optimizer, source=3, target=1)
    copy_rows(model, None, source=3, target=0)
    for row in (0, 1):
        assert torch.equal(model.sprites[row], model.sprites[3])
        weight = model.heads["affine"].group_weight
        assert torch.equal(weight[row], weight[3])


def test_a_new_appearance_keeps_alpha_and_forgets_its_own_moments(trained):
    model, optimizer, _ = trained
    before = {name: v.clone() for name, _, v in everything(model, optimizer)}
    image = torch.full((1, 6, 6), 0.25)
    set_sprite(model, optimizer, 1, image)
    for name, _, value in everything(model, optimizer):
        expected = before[name].clone()
        if name == "sprites":
            expected[1, :1] = image
        elif name.startswith("sprites "):
            assert expected[1, :1].any()
            expected[1, :1] = 0
        assert torch.equal(value, expected), name
