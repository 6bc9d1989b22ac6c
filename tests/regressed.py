"""What tests of networks trained by gradient share."""

import torch

from sklearn_sprites._engine.training.regressed import Look, Rule, show


def nudge_heads(model, make, scale):
    """Heads, which begin at zero, say something; in place."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "group_" in name:
                parameter += make.normal(*parameter.shape, scale=scale).float()


def shown(model, images):
    """What a model shows of images: layers, the picture, the choice."""
    look = Look(model.sprites.planes())
    return show(images, model, model(images), look, Rule(0.0, False))


def assert_slope(loss, parameter, slope):
    """The gradient of ``loss()`` along `slope` is that of differences."""
    with torch.no_grad():
        parameter += 1e-6 * slope
        above = loss()
        parameter -= 2e-6 * slope
        below = loss()
        parameter += 1e-6 * slope
    expected = (parameter.grad * slope).sum()
    torch.testing.assert_close((above - below) / 2e-6, expected, rtol=1e-4, atol=1e-5)
