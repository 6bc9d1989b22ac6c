import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

from sklearn_sprites.datasets import TRAFFIC_SIGNS, make_traffic_signs


def test_shapes_types_and_ranges():
    images, labels, masks = make_traffic_signs(
        7, n_classes=3, size=20, return_masks=True, random_state=0
    )
    assert (images.shape, images.dtype) == ((7, 20, 20, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((7,), np.int64)
    assert (masks.shape, masks.dtype) == ((7, 20, 20), bool)


def test_same_seed_same_images_and_other_seed_other_images():
    first, _ = make_traffic_signs(4, random_state=1)
    assert np.array_equal(first, make_traffic_signs(4, random_state=1)[0])
    assert not np.array_equal(first, make_traffic_signs(4, random_state=2)[0])


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_traffic_signs(2, random_state=0)
    make_traffic_signs(2, random_state=np.random.RandomState(3))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("n_classes", [1, 5, len(TRAFFIC_SIGNS)])
def test_classes_differ_in_size_by_one_at_most(n_classes):
    _, labels = make_traffic_signs(22, n_classes=n_classes, size=8, random_state=0)
    counts = np.bincount(labels, minlength=n_classes)
    assert len(counts) == n_classes
    assert np.ptp(counts) <= 1


def test_every_sign_is_one_piece_that_fills_a_fair_part_of_the_image():
    _, _, masks = make_traffic_signs(80, n_classes=8, return_masks=True, random_state=0)
    assert [ndimage.label(mask)[1] for mask in masks] == [1] * 80
    assert masks.mean((1, 2)).min() > 0.1
    assert masks.mean((1, 2)).max() < 0.8


def test_masks_mark_the_pixels_that_the_class_decides():
    images, labels, masks = make_traffic_signs(
        400, n_classes=2, return_masks=True, random_state=0
    )
    pairs = list(zip(images, masks, strict=True))
    inside = np.array([image[mask].mean(0) for image, mask in pairs])
    outside = np.array([image[~mask].mean(0) for image, mask in pairs])
    accuracy = [
        LogisticRegression(max_iter=1000).fit(x / 255, labels).score(x / 255, labels)
        for x in (inside, outside)
    ]
    assert accuracy[0] > 0.9
    assert accuracy[1] < 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer, at least 1; got 0"),
        ({"n_samples": 2.5}, "n_samples must be an integer"),
        ({"n_classes": 9}, "n_classes must be an integer, 1 to 8; got 9"),
        ({"size": 7}, "size must be an integer, at least 8; got 7"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_traffic_signs(**arguments)
