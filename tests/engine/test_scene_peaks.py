"""Layers at the peaks of a heat map, against loops; what is taught about them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.models.scene_build import build_peaks
from sklearn_sprites._engine.modules.maps import folded
from sklearn_sprites._engine.modules.peaks import ABSENT, FINER, PeakMaps, peaks
from sklearn_sprites._engine.scene_spec import SceneSpec
from tests.engine.test_scene_network import POSED, SHIFTED, seeded, some_images
from tests.strategies import attack


def peaks_by_loops(cells, count):
    """Cells that no neighbor exceeds, highest first."""
    found = []
    rows, columns = cells.shape
    for i in range(rows):
        for j in range(columns):
            around = cells[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            if cells[i, j] >= around.max():
                found.append((-cells[i, j].item(), i * columns + j))
    return [spot for _, spot in sorted(found)][:count]


@attack
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_peaks_are_those_of_a_loop(rows, columns, count, seed):
    cells = torch.rand(2, rows, columns, generator=seeded(seed))
    spots, is_peak = peaks(cells, count)
    assert spots.shape == is_peak.shape == (2, count)
    for one, spot, real in zip(cells, spots, is_peak, strict=True):
        assert spot[real].tolist() == peaks_by_loops(one, count)
        assert (spot[~real] == 0).all()


@pytest.mark.parametrize("spec", [SHIFTED, POSED], ids=["shifted", "posed"])
def test_guesses_have_their_shapes(spec):
    guess = build_peaks(spec, "small", 8, seeded(), 6)(some_images(5, spec))
    assert guess.pose.shape == (5, 3, 4, 4)
    assert guess.logits.shape == (5, 3, 5)
    torch.testing.assert_close(guess.logits.logsumexp(2), torch.zeros(5, 3))


def test_layers_beyond_the_peaks_are_absent():
    spec = SceneSpec(2, 9, 0, 1, 5, 5, 4, 4)
    network = build_peaks(spec, "small", 8, seeded()).eval()
    with torch.no_grad():
        guess = network(torch.rand(4, 1, 5, 5, generator=seeded()))
    assert (guess.logits[:, -1, :-1].logsumexp(1) < ABSENT + 1e-3).all()
    assert (guess.logits[:, 0, :-1].logsumexp(1) > ABSENT + 1).all()
    assert guess.pose.isfinite().all()


def test_features_are_those_of_the_position_of_a_cell():
    localizer = build_peaks(POSED, "small", 8, seeded()).localizer
    assert isinstance(localizer, PeakMaps)
    heat = localizer.heat(some_images(2))
    rows, columns = heat.cells.shape[1:]
    spot = torch.randint(rows * columns, (2, 3), generator=seeded())
    found = localizer.at(heat, spot)
    for b in range(2):
        for i in range(3):
            row, column = divmod(int(spot[b, i]), columns)
            where = heat.features[b, :, row // FINER, column // FINER]
            torch.testing.assert_close(found.features[b, i, :8], where)
            assert found.place[b, i].tolist() == [2 * column + 1, 2 * row + 1]
            part = found.features[b, i, 8:].argmax()
            assert part == row % FINER * FINER + column % FINER


def test_the_heat_moves_with_the_image():
    localizer = build_peaks(
        SceneSpec(1, 2, 0, 1, 96, 96, 9, 9), "small", 8, seeded()
    ).localizer.eval()
    image = torch.zeros(1, 1, 96, 96)
    image[:, :, 40:45, 42:49] = 1
    one = localizer.heat(image).cells
    other = localizer.heat(image.roll((8, 16), (2, 3))).cells
    inside = slice(12, -12)
    moved = one.roll((4, 8), (1, 2))
    torch.testing.assert_close(moved[:, inside, inside], other[:, inside, inside])


def test_a_row_does_not_depend_on_its_batch():
    network = build_peaks(POSED, "small", 8, seeded(), 6).eval()
    images = some_images(64)
    order = torch.randperm(64, generator=seeded())
    with torch.no_grad():
        guess = network(images)
        mixed = images[order].clone()
        mixed[32:] = 0.5
        other = network(mixed)
    assert torch.equal(guess.pose[order[:32]], other.pose[:32])
    assert torch.equal(guess.logits[order[:32]], other.logits[:32])


def test_normalization_folds_into_weights():
    network = build_peaks(POSED, "small", 8, seeded(), 6)
    images = some_images(8)
    with torch.no_grad():
        for _ in range(3):
            network(images)  # statistics that are not those of the start
        before = network.eval()(images)
        after = folded(network)(images)
    kinds = [type(part) for part in network.modules()]
    assert torch.nn.BatchNorm2d not in kinds
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-4)
