import colorsys
from functools import partial

import numpy as np
import pytest
from scipy import ndimage

from sklearn_sprites import datasets
from sklearn_sprites.datasets import (
    _flat,
    _shading,
    make_multi_dsprites,
    make_shaded_scenes,
    make_tetrominoes,
)
from tests.pace import least_seconds, pace

small_shaded_scenes = partial(make_shaded_scenes, size=24, min_pixels=2)
MAKERS = [make_tetrominoes, make_multi_dsprites, small_shaded_scenes]
NAMES = ["tetrominoes", "multi_dsprites", "shaded_scenes"]
each = pytest.mark.parametrize("make", MAKERS, ids=NAMES)


@each
def test_shapes_types_and_names(make):
    scenes = make(5, random_state=0)
    n, height, width, channels = scenes.images.shape
    assert (n, height, channels) == (5, width, 3)
    assert scenes.instances.shape == scenes.classes.shape == (5, height, width)
    maps = (scenes.images, scenes.instances, scenes.classes)
    assert [m.dtype for m in maps] == [np.uint8] * 3
    assert scenes.target_names[0] == "background"
    assert scenes.classes.max() < len(scenes.target_names)


@each
def test_a_thousand_scenes_take_less_than_five_seconds(make):
    make = getattr(make, "func", make)  # of the usual size
    jobs = [partial(make, 100, random_state=seed) for seed in range(3)]
    assert 10 * least_seconds(jobs) < 5 * pace()


@each
def test_same_seed_same_scenes_and_other_seed_other_scenes(make):
    first, same, other = (make(3, random_state=seed) for seed in (1, 1, 2))
    for key in ("images", "instances", "classes"):
        assert np.array_equal(first[key], same[key])
        assert not np.array_equal(first[key], other[key])


@each
def test_global_random_state_is_left_alone(make):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(2, random_state=0)
    make(2, random_state=np.random.RandomState(3))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@each
def test_every_instance_has_one_class_and_nothing_else_has(make):
    scenes = make(10, random_state=0)
    assert np.array_equal(scenes.instances > 0, scenes.classes > 0)
    for instances, classes in zip(scenes.instances, scenes.classes, strict=True):
        for j in range(1, instances.max() + 1):
            assert len(np.unique(classes[instances == j])) == 1


@each
@pytest.mark.parametrize("n_objects", [1, (2, 4), np.int64(3)])
def test_scenes_show_as_many_objects_as_asked_for(make, n_objects):
    scenes = make(12, n_objects=n_objects, random_state=0)
    shown = [set(np.unique(m)) - {0} for m in scenes.instances]
    assert shown == [set(range(1, len(found) + 1)) for found in shown]
    counts = {len(found) for found in shown}
    assert counts == ({2, 3, 4} if isinstance(n_objects, tuple) else {int(n_objects)})


@each
def test_all_classes_occur(make):
    scenes = make(60, random_state=0)
    assert set(np.unique(scenes.classes)) == set(range(len(scenes.target_names)))


@each
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer, at least 1; got 0"),
        ({"n_samples": True}, "n_samples must be an integer, at least 1; got True"),
        ({"size": 7}, "size must be an integer, at least .*; got 7"),
        ({"n_objects": 0}, "n_objects must be an integer or a pair"),
        ({"n_objects": (3, 2)}, "n_objects must be .* got \\(3, 2\\)"),
        ({"n_objects": 2.0}, "n_objects must be .* got 2.0"),
        ({"n_objects": 256}, "n_objects must be .* got 256"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(make, wrong, message):
    with pytest.raises(ValueError, match=message):
        make(**{"n_samples": 1, **wrong})


def test_the_19_tetrominoes_are_connected_and_differ():
    shapes = list(_flat.fixed_tetrominoes().values())
    assert len({(s.shape, s.tobytes()) for s in shapes}) == len(shapes) == 19
    assert [int(s.sum()) for s in shapes] == [4] * 19
    assert [ndimage.label(s)[1] for s in shapes] == [1] * 19


def test_every_piece_shows_its_whole_shape_in_one_color():
    scenes = make_tetrominoes(30, random_state=0)
    shapes = list(_flat.fixed_tetrominoes().values())
    shade = _flat.shaded_cell(5, True)
    for image, instances, classes in zip(
        scenes.images, scenes.instances, scenes.classes, strict=True
    ):
        for j in range(1, 4):
            mask = instances == j
            stamp = np.kron(shapes[classes[mask][0] - 1], shade)
            box = ndimage.find_objects(mask.astype(int))[0]
            seen = np.where(mask[box][..., None], image[box], 0)
            color = seen.max((0, 1)) == 255
            assert color.any()
            assert np.array_equal(seen, np.round(255 * stamp[..., None] * color))
        assert not image[instances == 0].any()


def test_the_bevel_is_that_of_the_published_images():
    assert np.array_equal(
        _flat.shaded_cell(5, True),
        [
            [0.75, 1, 1, 1, 0.875],
            [0.5, 0.625, 0.625, 0.625, 0.75],
            [0.5, 0.625, 0.625, 0.625, 0.75],
            [0.5, 0.625, 0.625, 0.625, 0.75],
            [0.375, 0.25, 0.25, 0.25, 0.5],
        ],
    )
    flat = make_tetrominoes(3, bevel=False, random_state=0)
    assert set(np.unique(flat.images)) == {0, 255}


def test_pieces_are_at_every_place_evenly():
    scenes = make_tetrominoes(
        6000, n_objects=1, size=4, cell=1, bevel=False, random_state=0
    )
    squares = scenes.instances[scenes.classes.max((1, 2)) == 3]
    assert scenes.target_names[3] == "O"
    # Nine places: corners are in one of them, sides in two, inner pixels in four.
    share = squares.mean(0) * 9
    assert share == pytest.approx(np.outer([1, 2, 2, 1], [1, 2, 2, 1]), rel=0.5)
    kinds = np.bincount(scenes.classes.max((1, 2)), minlength=20)[1:]
    assert kinds == pytest.approx(np.full(19, 6000 / 19), rel=0.25)


def test_pieces_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="1 to 6; got 7"):
        make_tetrominoes(1, n_objects=7)
    assert make_tetrominoes(5, n_objects=6, random_state=0).instances.max() == 6


def test_flat_shapes_show_one_color_each_on_gray():
    scenes = make_multi_dsprites(20, random_state=0)
    for image, instances in zip(scenes.images, scenes.instances, strict=True):
        for j in range(instances.max() + 1):
            assert len(np.unique(image[instances == j], axis=0)) == 1
        assert len(np.unique(image[instances == 0])) == 1


def test_flat_shapes_have_the_areas_of_dsprites():
    scenes = make_multi_dsprites(
        300, n_objects=1, scale=(1.0, 1.0), random_state=0, min_pixels=0
    )
    kinds = scenes.classes.max((1, 2))
    areas = [(scenes.instances[kinds == k] > 0).sum((1, 2)).mean() for k in (1, 2, 3)]
    assert areas == pytest.approx([370, 286, 224], rel=0.03)


def test_the_heart_fills_its_box():
    y, x = np.mgrid[-12:12:0.05, -12:12:0.05]
    rows, columns = np.nonzero(_flat._heart(x, y))
    assert np.ptp(columns) / 20 == pytest.approx(19.1, abs=0.15)
    assert rows.min() + rows.max() == pytest.approx(len(x) - 1, abs=2)
    assert np.ptp(rows) / 20 == pytest.approx(17.5, abs=0.15)


def test_flat_shapes_never_leave_the_image():
    scenes = make_multi_dsprites(300, n_objects=1, scale=(1.0, 1.0), random_state=0)
    border = np.ones((64, 64), bool)
    border[1:-1, 1:-1] = False
    assert not scenes.instances[:, border].any()


def test_scenes_grow_with_their_size():
    small, large = (
        make_multi_dsprites(4, size=size, min_pixels=0, random_state=0).classes
        for size in (40, 120)
    )
    agree = large[:, 1::3, 1::3] == small
    assert agree.mean() > 0.99


@pytest.mark.parametrize("make", [make_multi_dsprites, small_shaded_scenes])
def test_every_object_shows_the_least_number_of_pixels(make):
    scenes = make(40, n_objects=4, min_pixels=9, random_state=0)
    counts = [np.bincount(m.ravel(), minlength=5) for m in scenes.instances]
    assert np.min(counts) >= 9
    free = make(40, n_objects=4, min_pixels=0, random_state=0)
    assert min(np.bincount(m.ravel(), minlength=5).min() for m in free.instances) < 9


def test_objects_that_cannot_show_enough_are_an_error():
    with pytest.raises(ValueError, match="choose a smaller min_pixels"):
        make_multi_dsprites(1, size=8, min_pixels=64, random_state=0)


@pytest.mark.parametrize("scale", [(0, 1), (0.5, 1.2), (1, 0.5), 0.5, ("a", 1)])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale must be a pair \(low, high\)"):
        make_multi_dsprites(1, scale=scale)


def test_colors_are_those_of_colorsys():
    hsv = np.random.RandomState(0).uniform(size=(50, 3))
    expected = [colorsys.hsv_to_rgb(*color) for color in hsv]
    assert _flat.hsv_to_rgb(hsv) == pytest.approx(np.array(expected))


def solid(shape, metal=False, **place):
    place = {"x": 0.4, "y": -0.3, "angle": 0.5, **place}
    return _shading.Solid(shape, metal, 0.7, color=np.full(3, 0.5), **place)


def inside(shape, points):
    """Slow twin: whether points (n, 3) lie in the solid of :func:`solid`."""
    p = points - [0.4, -0.3, 0]
    if shape == "sphere":
        return np.linalg.norm(p - [0, 0, 0.7], axis=1) < 0.7
    if shape == "cylinder":
        return (np.hypot(p[:, 0], p[:, 1]) < 0.7) & (0 < p[:, 2]) & (p[:, 2] < 1.4)
    half = 0.7 / np.sqrt(2)
    turn = np.exp(-0.5j) * (p[:, 0] + 1j * p[:, 1])
    flat = np.maximum(abs(turn.real), abs(turn.imag)) < half
    return flat & (0 < p[:, 2]) & (p[:, 2] < 2 * half)


@pytest.mark.parametrize("shape", _shading.SHAPES)
def test_rays_enter_and_leave_where_points_on_them_say(shape):
    rng = np.random.RandomState(0)
    origin = np.array([3.0, -4.0, 5.0], np.float32)
    rays = rng.normal([-0.5, 0.7, -0.8], 0.1, (60, 3)).astype(np.float32)
    enter, leave = solid(shape).cross(origin, rays.T[:, :, None])
    steps = np.linspace(0, 12, 6001)
    hits = 0
    for ray, first, last in zip(rays, enter[:, 0], leave[:, 0], strict=True):
        within = steps[inside(shape, origin + steps[:, None] * ray)]
        if len(within):
            hits += 1
            assert (first, last) == pytest.approx((within[0], within[-1]), abs=4e-3)
        else:
            assert last - first < 4e-3
    assert 10 < hits < 60


@pytest.mark.parametrize("shape", _shading.SHAPES)
def test_normals_have_length_one_and_point_outwards(shape):
    camera = _shading.Camera(64)
    body = solid(shape)
    eye = _shading.EYE.astype(np.float32)
    enter, leave = body.cross(eye, camera.rays)
    hit = enter < leave
    points = (eye[:, None, None] + enter * camera.rays)[:, hit]
    normals = body.normals(points)
    assert np.linalg.norm(normals, axis=0) == pytest.approx(1, abs=1e-3)
    assert inside(shape, (points - 0.01 * normals).T).mean() > 0.98
    assert not inside(shape, (points + 0.01 * normals).T).any()
    assert ((normals * camera.rays[:, hit]).sum(0) < 1e-3).all()


def test_windows_leave_out_nothing(monkeypatch):
    draw = partial(make_shaded_scenes, 6, size=32, n_objects=(3, 8), min_pixels=1)
    cut = draw(random_state=0)
    everywhere = (slice(None), slice(None))
    monkeypatch.setattr(
        _shading.Camera, "windows", lambda self, points: [everywhere] * len(points)
    )
    whole = draw(random_state=0)
    for key in ("images", "instances", "classes"):
        assert np.array_equal(cut[key], whole[key])


def test_objects_cast_shadows_on_the_floor(monkeypatch):
    with_shadows = make_shaded_scenes(8, size=32, random_state=0)
    nothing = np.zeros((), bool)
    monkeypatch.setattr(_shading, "_hides", lambda *_: nothing)
    without = make_shaded_scenes(8, size=32, random_state=0)
    floor = with_shadows.instances == 0
    darker = with_shadows.images[floor].astype(int) - without.images[floor]
    assert (darker <= 0).all()
    assert 0.02 < (darker.sum(1) < -60).mean() < 0.3


def test_nearer_solids_have_larger_numbers_and_occlude():
    scenes = make_shaded_scenes(30, n_objects=6, random_state=0)
    lowest = [
        [np.nonzero(m == j)[0].max() for j in range(1, 7)] for m in scenes.instances
    ]
    assert np.mean(np.diff(lowest, axis=1) >= 0) > 0.8


def test_metal_gleams_more_than_rubber():
    scenes = make_shaded_scenes(60, random_state=0)
    brightest = {True: [], False: []}
    for image, instances, classes in zip(
        scenes.images, scenes.instances, scenes.classes, strict=True
    ):
        for j in np.unique(instances)[1:]:
            mask = instances == j
            name = scenes.target_names[classes[mask][0]]
            if "sphere" in name and mask.sum() > 50:
                brightest["metal" in name].append(image[mask].min(axis=1).max())
    assert np.median(brightest[True]) > np.median(brightest[False]) + 50


def test_every_public_name_is_listed_and_loads():
    assert set(datasets.__all__) <= set(dir(datasets))
    assert all(getattr(datasets, name) is not None for name in datasets.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        datasets.nothing  # noqa: B018
