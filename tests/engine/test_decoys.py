"""What layers must save where sprites are found in the texture of the ground."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sklearn_sprites._engine.scene_decoys import (
    BEST,
    CLEAR,
    clear_savings,
    decoys_of,
    rough_penalty,
)
from sklearn_sprites._engine.scene_inference import ScenePredictor
from sklearn_sprites._engine.scene_records import FittedScenes
from sklearn_sprites._engine.scene_settings import resolve_penalty
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search_settings import SearchPlan

SIDE, SMALL, LEVEL, BRIGHT = 32, 7, 0.3, 0.8
SEARCH = SearchPlan(sweeps=1, restarts=0, replacements=0)


def predictor_of_shapes(penalty=None, n_layers=4):
    """Knows a square and a cross, over any plain ground."""
    spec = SceneSpec(
        2, n_layers, 1, 1, SIDE, SIDE, SMALL, SMALL, ("translation",), "flat"
    )
    sprites = np.ones((2, 2, SMALL, SMALL), np.float32)
    sprites[:, 1] = 0
    sprites[0, 1, 1:6, 1:6] = 1
    sprites[1, 1, 3, :] = sprites[1, 1, :, 3] = 1
    ground = np.ones((1, 1, SIDE, SIDE), np.float32)
    fitted = FittedScenes(spec, {"sprites": sprites, "backgrounds": ground}, 0.0)
    penalty = resolve_penalty("auto", spec) if penalty is None else penalty
    return ScenePredictor(fitted, SEARCH, penalty, "cpu"), sprites[:, 1], penalty


def scenes(n, roughness, shapes, n_objects=2, seed=0):
    """Objects apart from each other, on a ground as rough as wanted."""
    draws = np.random.default_rng(seed)
    waves = gaussian_filter(draws.normal(size=(n, SIDE, SIDE)), (0, 1, 2))
    images = LEVEL + roughness * waves / waves.std()
    for i in range(n):
        for j in range(n_objects):
            row, column = draws.integers(0, SIDE // 2 - SMALL, 2)
            row, column = row + SIDE // 2 * (j % 2), column + SIDE // 2 * (j // 2)
            mask = shapes[draws.integers(2)]
            window = np.s_[i, row : row + SMALL, column : column + SMALL]
            images[window] += mask * (BRIGHT - images[window])
    return images[:, None].astype(np.float32)


def n_found(predictor, images):
    return (predictor.decompose(images).sprite >= 0).sum(1)


def test_what_is_found_in_ripples_does_not_pay_and_objects_do():
    predictor, shapes, penalty = predictor_of_shapes()
    images, new = (scenes(40, 0.02, shapes, seed=s) for s in (0, 1))
    record = predictor.decompose(images)
    assert n_found(predictor, images).mean() > 3.5
    larger = rough_penalty(predictor, images, record, penalty)
    assert larger > 2 * penalty
    heedful = predictor_of_shapes(larger)[0]
    assert abs(n_found(heedful, new).mean() - 2) < 0.1


@pytest.mark.parametrize("roughness", [0.0, 0.003])
def test_where_no_decoy_is_found_nothing_changes(roughness):
    predictor, shapes, penalty = predictor_of_shapes()
    images = scenes(20, roughness, shapes)
    record = predictor.decompose(images)
    assert rough_penalty(predictor, images, record, penalty) == penalty


@pytest.mark.parametrize("n_objects", [0, 4])
def test_images_with_nothing_or_with_more_than_there_are_layers(n_objects):
    predictor, shapes, penalty = predictor_of_shapes(n_layers=2)
    images = scenes(20, 0.0, shapes, n_objects)
    record = predictor.decompose(images)
    larger = rough_penalty(predictor, images, record, penalty)
    shown = record.saves[record.sprite >= 0]
    assert penalty <= larger
    assert (shown > larger).all()  # what is left out hides no object


def test_without_layers_or_images_the_penalty_stays():
    predictor, shapes, penalty = predictor_of_shapes(n_layers=0)
    images = scenes(3, 0.1, shapes)
    record = predictor.decompose(images)
    assert rough_penalty(predictor, images, record, penalty) == penalty
    none = record.take(slice(0, 0))
    assert rough_penalty(predictor, images[:0], none, penalty) == penalty


def test_decoys_are_the_other_way_round_where_no_object_is_near():
    predictor, shapes, _ = predictor_of_shapes()
    images = scenes(6, 0.02, shapes)
    record = predictor.decompose(images)
    is_object = record.saves > 1
    decoys = decoys_of(predictor, images, record, is_object)
    empty = replace(record, sprite=np.full_like(record.sprite, -1))
    ground = predictor.render(empty).images
    masks = predictor.render(record).masks
    for i, row, column in np.ndindex(6, SIDE, SIDE):
        near = np.s_[i, is_object[i], max(row - 2, 0) : row + 3]
        share = masks[near][..., max(column - 2, 0) : column + 3].max(initial=0)
        difference = images[i, 0, row, column] - ground[i, 0, row, column]
        wanted = ground[i, 0, row, column] - difference * (1 - share)
        assert decoys[i, 0, row, column] == pytest.approx(wanted, abs=1e-5)


@pytest.fixture(scope="module")
def any_record():
    predictor, shapes, _ = predictor_of_shapes()
    return predictor.decompose(scenes(1, 0.0, shapes))


@given(seed=st.integers(0, 2**16))
def test_clear_is_a_share_of_what_the_best_of_each_sprite_save(any_record, seed):
    draws = np.random.default_rng(seed)
    sprite = draws.integers(-1, 3, (5, 4))
    saves = draws.random((5, 4)) * (sprite >= 0)
    told = clear_savings(replace(any_record, sprite=sprite, saves=saves))
    for k in range(max(int(sprite.max()) + 1, 1)):
        its = saves[sprite == k]
        wanted = CLEAR * np.quantile(its, BEST) if len(its) else np.inf
        assert told[k] == pytest.approx(wanted)
