"""Records of scenes and edits of them; no estimator is needed."""

import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from tests.scenes import arrays_of, assert_same_layers, make_record

EDITS = {
    "move": lambda found, layers: found.move(layers, 1, -2),
    "resize": lambda found, layers: found.resize(layers, 2.0),
    "turn": lambda found, layers: found.turn(layers, 0.5),
    "deform": lambda found, layers: found.deform(layers, 1.5, 0.2),
    "recolor": lambda found, layers: found.recolor(layers, [0.9]),
    "swap_sprite": lambda found, layers: found.swap_sprite(layers, 3),
    "bring_to_front": lambda found, layers: found.bring_to_front(layers),
    "send_to_back": lambda found, layers: found.send_to_back(layers),
    "drop": lambda found, layers: found.drop(layers),
}


def test_a_record_tells_how_many_objects_it_shows():
    found = make_record(n=2)
    assert found.n_objects.tolist() == [2, 2]
    assert found.shown.tolist() == [[True, True, False]] * 2
    assert repr(found) == "Decomposition(2 images, up to 3 layers, 4 objects)"


def test_a_record_cannot_be_written_to():
    with pytest.raises(FrozenInstanceError):
        make_record().x = 0


@pytest.mark.parametrize("edit", EDITS)
def test_edits_leave_the_record_and_its_empty_layers_alone(edit):
    found, before = make_record(), make_record()
    EDITS[edit](found, [0, 1])
    assert_same_layers(found, before)
    assert_same_layers(EDITS[edit](found, 2), before)  # an empty layer


@pytest.mark.parametrize("edit", EDITS)
def test_edits_take_indices_and_booleans(edit):
    found = make_record()
    mask = np.zeros((2, 3), bool)
    mask[:, 1] = True
    by_index = EDITS[edit](found, 1)
    assert_same_layers(EDITS[edit](found, mask), by_index)
    assert_same_layers(EDITS[edit](found, [-2]), by_index)
    changed = [
        name
        for (name, left), (_, right) in zip(
            arrays_of(found), arrays_of(by_index), strict=True
        )
        if not np.array_equal(left, right)
    ]
    assert changed


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (3, "from 0 to 2, .*; 3 is out of range"),
        (-4, "from 0 to 2, .*; -4 is out of range"),
        ([0, 7], "; 7 is out of range"),
        (1.0, r"indices or booleans, got 1\.0\.$"),
        ([True, False, True], r"must have the shape \(2, 3\)"),
        ([[0, 1]], r"indices or booleans, got \[\[0, 1\]\]\.$"),
    ],
)
def test_layers_that_are_none_are_refused(edit, layers, message):
    with pytest.raises(ValueError, match=message):
        EDITS[edit](make_record(), layers)


def test_layers_are_moved_by_pixels_each_image_by_its_own():
    moved = make_record().move(0, dx=[[1.0], [2.0]], dy=-1)
    assert moved.x.tolist() == [[5, 4, 4], [6, 4, 4]]
    assert moved.y.tolist() == [[4, 5, 5], [4, 5, 5]]


def test_sizes_are_multiplied_and_angles_added():
    found = make_record().resize(1, 2).resize(1, 1.5).turn(0, 0.25).turn(0, 0.5)
    assert found.scale[0].tolist() == [1, 3, 1]
    assert found.angle[0].tolist() == [0.75, 0, 0]


@pytest.mark.parametrize(
    ("factor", "got"),
    [(0, "0"), (-1, "-1"), ([[1.0], [0.0]], r"0\.0"), (np.float64("nan"), "nan")],
)
def test_sizes_must_be_positive(factor, got):
    with pytest.raises(ValueError, match=f"factor must be positive, got {got}.$"):
        make_record().resize(0, factor)


def test_recolored_layers_have_the_color_asked_for():
    found = make_record(channels=3)
    painted = found.recolor(0, (0.9, 0.1, 0.0))
    np.testing.assert_allclose(painted.color[:, 0], [[0.9, 0.1, 0.0]] * 2)
    np.testing.assert_array_equal(painted.color[:, 1], found.color[:, 1])
    np.testing.assert_array_equal(painted.bias[:, 0], 0)  # black stays black


def test_a_sprite_without_any_color_is_painted_over():
    found = make_record(channels=3)
    painted = found.replace(sprite=[0, 0, -1])
    black = painted.palette.copy()
    black[0] = 0
    dark = type(found)(**{**vars(painted), "palette": black}).recolor(0, (1, 0, 0.5))
    np.testing.assert_array_equal(dark.color[:, 0], [[1, 0, 0.5]] * 2)


def test_a_swapped_sprite_keeps_the_color_of_the_layer():
    found = make_record()
    swapped = found.swap_sprite(1, 3)
    assert swapped.sprite.tolist() == [[0, 3, -1]] * 2
    np.testing.assert_allclose(swapped.color[:, :2], found.color[:, :2])


@pytest.mark.parametrize(
    ("sprite", "got"),
    [(4, "4"), (-1, "-1"), (0.5, r"0\.5"), (True, "True"), ([[0], [9]], "9")],
)
def test_sprites_that_are_none_are_refused(sprite, got):
    wanted = f"^sprite must be an index from 0 to 3, an integer; got {got}.$"
    with pytest.raises(ValueError, match=wanted):
        make_record().swap_sprite(0, sprite)


WRONG = {  # an edit with values of a shape, and what it names
    "dx": (lambda found, values: found.move(0, dx=values), (2, 3)),
    "dy": (lambda found, values: found.move(0, dy=values), (2, 3)),
    "factor": (lambda found, values: found.resize(0, values), (2, 3)),
    "angle": (lambda found, values: found.turn(0, values), (2, 3)),
    "stretch": (lambda found, values: found.deform(0, values), (2, 3)),
    "shear": (lambda found, values: found.deform(0, shear=values), (2, 3)),
    "color": (lambda found, values: found.recolor(0, values), (2, 3, 1)),
    "sprite": (lambda found, values: found.swap_sprite(0, values), (2, 3)),
    "x": (lambda found, values: found.replace(x=values), (2, 3)),
    "over": (lambda found, values: found.replace(over=values), (2, 3, 3)),
    "error": (lambda found, values: found.replace(error=values), (2,)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(
    ("values", "came"),
    [
        (np.ones(5, int), r"got the shape \(5,\)"),
        (np.ones((4, 2, 3, 3), int), r"got the shape \(4, 2, 3, 3\)"),
        ("left", "got 'left'"),
        ([[1], [2, 3]], r"got \[\[1\], \[2, 3\]\]"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(name, values, came):
    edit, shape = WRONG[name]
    message = rf"^{name} must be .* shape {re.escape(str(shape))} .*{came}"
    with pytest.raises(ValueError, match=message):
        edit(make_record(), values)


def test_indices_are_replaced_by_whole_numbers():
    assert make_record().replace(sprite=[1.0, 2.0, -1.0]).sprite.dtype == np.int64
    for value, got in ((0.5, r"0\.5"), (np.nan, "nan"), ([0, 1, -0.5], r"-0\.5")):
        message = f"sprite must be whole numbers, got {got}.$"
        with pytest.raises(ValueError, match=message):
            make_record().replace(sprite=value)


def test_editing_no_layers_changes_nothing():
    found = make_record()
    for edit in EDITS.values():
        assert_same_layers(edit(found, []), found)
    assert (found.keep([]).sprite == -1).all()


def test_order_is_turned_around_by_pairs():
    found = make_record()
    assert found.over[0].tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    front = found.bring_to_front(1)
    assert front.over[0].tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 0]]
    back = found.send_to_back(0)
    assert back.over[0].tolist() == [[0, 0, 0], [1, 0, 1], [1, 0, 0]]


def test_dropping_and_keeping_are_opposites():
    found = make_record()
    assert found.drop(0).sprite.tolist() == [[-1, 1, -1]] * 2
    assert_same_layers(found.keep(1), found.drop(0))


def test_some_images_can_be_taken():
    found = make_record(n=4)
    moved = found.move(0, dx=np.arange(4.0)[:, None])
    assert moved[1].n_images == 1
    assert moved[1].x[0, 0] == 5
    assert moved[2:].x[:, 0].tolist() == [6, 7]
    assert moved[[3, 0]].x[:, 0].tolist() == [7, 4]
    assert moved[np.array([False, True, False, True])].x[:, 0].tolist() == [5, 7]


def test_a_record_is_no_sequence_to_numpy():
    assert np.asarray(make_record()).shape == ()


def test_fields_are_replaced_in_the_shape_of_the_field():
    found = make_record().replace(sprite=2, x=[1, 2, 3])
    assert found.sprite.tolist() == [[2, 2, 2]] * 2
    assert found.x.tolist() == [[1.0, 2.0, 3.0]] * 2
    with pytest.raises(ValueError, match="no field 'places' to replace"):
        make_record().replace(places=1)


def test_a_layer_deformed_twice_is_deformed_by_both():
    def matrix(found):
        stretch, shear = found.stretch[0, 0], found.shear[0, 0]
        return np.diag([stretch, 1 / stretch]) @ [[1, shear], [0, 1]]

    once = make_record().deform(0, 1.5, 0.3)
    again = make_record().deform(0, 0.8, -0.4)
    both = once.deform(0, 0.8, -0.4)
    np.testing.assert_allclose(matrix(both), matrix(again) @ matrix(once))
    np.testing.assert_array_equal(both.stretch[:, 1:], 1)
    with pytest.raises(ValueError, match="stretch must be positive"):
        once.deform(0, stretch=0)
