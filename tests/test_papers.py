"""Parameters of published experiments: as published, and of use."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_sprites import (
    ClonePerturb,
    ConstantSprites,
    GaussianWindow,
    LayeredSpriteDecomposition,
    Milestones,
    Regression,
    SpriteClustering,
)
from sklearn_sprites._papers import CLUSTERING, SCENES

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sklearn_sprites.exceptions.ClusterCollapseWarning",
)

GUIDE = Path(__file__).parents[1] / "docs" / "papers.md"

# As the schedules are usually written: sequence, milestones (the first of the sequence
# is active from the start), batch, learning rate, its drop, epochs, check, K, encoder.
OPAQUE = """
mnist          id-aff-morpho-tps  5,15,20       128  1e-3  35    40    50   10  resnet20
mnist_test     id-aff-morpho-tps  50,150,200    128  1e-3  280   300   50   10  resnet20
mnist_1k       id-aff-morpho-tps  100,500,700   100  1e-3  1200  1700  40   10  resnet20
mnist_color    id-col-aff-tps     5,15,30       128  1e-3  45    50    50   10  resnet20
fashion_mnist  id-col-aff-tps     5,15,25       128  1e-3  35    40    50   10  resnet20
affnist        id-aff-morpho-tps  5,20,25       128  1e-4  37    45    400  10  resnet20
usps           id-col-aff-tps     60,120,200    128  1e-3  250   270   50   10  resnet20
frgc           id-col-aff-tps     50,200,400    128  1e-3  650   700   20   20  resnet20
svhn           id-col-proj        2,18          128  1e-3  30    33    100  10  resnet20
instagram      id-col-proj        5,15          64   1e-3  100   110   100  40  resnet18
megadepth      id-col-proj        150,400       64   1e-3  900   1100  100  20  resnet18
"""
# The same, and the standard deviation of the first masks.
LAYERED = """
gtsrb8         col-proj-tps 100,350   128 1e-3 600   700   25  8  resnet32 5
svhn_layered   col-proj-tps 10,35     128 1e-3 50    55    100 10 resnet32 8
weizmann_horse col-proj-tps 3000,8000 32  1e-3 14000 15000 300 1  resnet18 20
instagram_layered col-proj  100       32  1e-3 700   850   250 40 resnet18 20
"""
# Scenes, one line for each quantity, as the supplement's table has them.
SETS = """
set             tetrominoes  multi_dsprites  clevr6
image           35           64              128
sprites         19           3               6
layers          3            5               6
backgrounds     0            1               1
lambda          -            1e-4            1e-4
occlusion       fixed        pred            pred
encoder         resnet32     resnet32        resnet18
pool            1            4               2
sprite_seq      id           id-sim          id-proj
milestone       0            20              150
freeze          1            10              40
size            24           28              40
mask            5            7               10
background      -            0.5             mean
batch           32           32              32
rate            1e-4         1e-4            1e-4
drops           100,200      250,500         250,400
epochs          210          510             450
check           50           100             250
sweeps          1            3               3
"""
WORDS = {
    "aff": "affine",
    "col": "color",
    "morpho": "morphological",
    "proj": "projective",
    "tps": "thin_plate_spline",
}


def rows(table):
    return [line.split() for line in table.strip().splitlines()]


def schedule(sequence, dates):
    """Transformations and the epochs at which they join."""
    names, milestones = sequence.split("-"), [int(d) for d in dates.split(",")]
    joins = dict(zip(names, [0, *milestones], strict=True))
    joins.pop("id", None)
    return tuple(WORDS[name] for name in joins), tuple(joins.values())


def expected(row):
    _, sequence, dates, batch, rate, drop, epochs, check, k, encoder = row[:10]
    transformations, joins = schedule(sequence, dates)
    return {
        "n_clusters": int(k),
        "transformations": transformations,
        "color": "predict",
        "encoder": encoder,
        "curriculum": Milestones(joins, (int(drop),), 0.1),
        "reassignment": ClonePerturb(int(check), 0.2, 1e-4),
        "max_epochs": int(epochs),
        "batch_size": int(batch),
        "learning_rate": float(rate),
    }


@pytest.mark.parametrize("row", rows(OPAQUE), ids=lambda row: row[0])
def test_opaque_configurations_are_those_published(row):
    found = SpriteClustering.from_paper(row[0]).get_params()
    rest = {"init": "sample", "n_backgrounds": 0}
    rest["padding"] = "zeros" if row[0] == "usps" else "border"
    rest["pixel_weights"] = GaussianWindow(7.0) if row[0] == "svhn" else None
    assert found == {**SpriteClustering().get_params(), **expected(row), **rest}
    assert "DTI" in CLUSTERING[row[0]].source or "Deep" in CLUSTERING[row[0]].source


@pytest.mark.parametrize("row", rows(LAYERED), ids=lambda row: row[0])
def test_configurations_over_a_background_are_those_published(row):
    found = SpriteClustering.from_paper(row[0]).get_params()
    rest = {
        "n_backgrounds": 1,
        "background_transformations": expected(row)["transformations"],
        "init": ConstantSprites(0.9, float(row[10])),
        "mask_noise": 0.4,
        "mask_penalty": 0.0,
    }
    assert found == {**SpriteClustering().get_params(), **expected(row), **rest}


def test_the_tables_name_the_same_experiments():
    assert {row[0] for row in rows(OPAQUE + LAYERED.lstrip())} == set(CLUSTERING)
    assert all(name in SpriteClustering.from_paper.__doc__ for name in CLUSTERING)


def test_the_guide_names_every_experiment_with_its_epochs():
    lines = GUIDE.read_text().splitlines()
    for name, found in {**CLUSTERING, **SCENES}.items():
        row = next(line for line in lines if line.startswith(f'| `"{name}"`'))
        epochs = {"max_epochs", "max_rounds"} & found.parameters.keys()
        assert f" {found.parameters[epochs.pop()]} |" in row


def test_an_unknown_experiment_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"from_paper knows no 'mnits'.*mnist_test"):
        SpriteClustering.from_paper("mnits")


@pytest.mark.parametrize(
    ("kind", "name", "wrong", "valid"),
    [
        (SpriteClustering, "mnist", "n_sprites", "n_clusters, n_backgrounds"),
        (LayeredSpriteDecomposition, "clevr6", "n_clusters", "n_sprites, n_layers"),
    ],
)
def test_an_unknown_override_is_refused_with_the_parameters_there_are(
    kind, name, wrong, valid
):
    message = rf"from_paper got '{wrong}', .* no parameter of .* ones are {valid}, "
    with pytest.raises(TypeError, match=message):
        kind.from_paper(name, random_state=0, **{wrong: 3})


def test_overrides_win_and_the_table_is_never_changed():
    model = SpriteClustering.from_paper("usps", n_clusters=3, random_state=1)
    assert (model.n_clusters, model.random_state) == (3, 1)
    assert SpriteClustering.from_paper("usps").n_clusters == 10
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(TypeError):
        CLUSTERING["usps"].parameters["n_clusters"] = 3


@pytest.mark.parametrize("name", CLUSTERING)
def test_every_configuration_fits_two_epochs(name):
    X = np.random.default_rng(0).random((8, 8, 8, 3)).astype(np.float32)
    dates = CLUSTERING[name].parameters["curriculum"].joins
    soon = Milestones(tuple(min(date, 1) for date in dates), (1,))
    model = SpriteClustering.from_paper(
        name, n_clusters=3, max_epochs=2, curriculum=soon, random_state=0
    ).fit(X)
    assert model.n_iter_ == 2
    assert len(model.loss_curve_) == 2
    assert np.isfinite(model.sprites_).all()
    np.testing.assert_array_equal(model.labels_, model.predict(X))


def test_a_schedule_with_dates_is_followed_in_whole_passes_over_the_images():
    X = np.random.default_rng(0).random((10, 6, 6)).astype(np.float32)
    model = SpriteClustering(
        6,
        transformations=("translation",),
        color="predict",
        init="sample",
        curriculum=Milestones((1,), drops=(2,), factor=1e-12),
        reassignment=None,
        batch_size=4,
        max_epochs=4,
        learning_rate=1e-2,
        random_state=0,
    )
    assert model.fit(X).n_iter_ == 4  # though a rate of 1e-14 changes nothing
    frozen = model.cluster_centers_
    model.set_params(max_epochs=2).fit(X)
    np.testing.assert_allclose(frozen, model.cluster_centers_, atol=1e-6)
    with pytest.warns(ConvergenceWarning, match="=1 ends before translation joined"):
        model.set_params(max_epochs=1).fit(X)
    assert not model.transformation_params_["translation"].any()
    assert np.abs(frozen - model.cluster_centers_).max() > 1e-3


def test_dates_must_fit_the_transformations():
    model = SpriteClustering(2, transformations=("affine",), curriculum=Milestones(()))
    with pytest.raises(ValueError, match=r"0 dates in joins.*give one for each"):
        model.fit(np.random.default_rng(0).random((8, 6, 6)))


def test_constant_sprites_lie_under_a_gaussian_of_the_width_asked_for():
    X = np.random.default_rng(0).random((8, 12, 12)).astype(np.float32)
    model = SpriteClustering(
        1,
        n_backgrounds=1,
        transformations=(),
        background_transformations=(),
        init=ConstantSprites(0.7, 2.0),
        learning_rate=1e-12,
        max_epochs=1,
        random_state=0,
    ).fit(X)
    np.testing.assert_allclose(model.sprites_[0, :, :, 0], 0.7, atol=1e-6)
    line = np.exp(-0.5 * ((np.arange(12) - 5.5) / 2.0) ** 2)
    np.testing.assert_allclose(
        model.sprites_[0, :, :, 1], np.outer(line, line), atol=1e-6
    )


def scene_sets():
    """Name -> quantity -> word."""
    table = rows(SETS)
    columns = [
        dict(zip([r[0] for r in table], c, strict=True))
        for c in zip(*(r[1:] for r in table), strict=True)
    ]
    return {column["set"]: column for column in columns}


@pytest.mark.parametrize("name", scene_sets())
def test_scenes_are_configured_as_published(name):
    want = scene_sets()[name]
    found = LayeredSpriteDecomposition.from_paper(name).get_params()
    side, has_background = int(want["image"]), want["backgrounds"] == "1"
    regression = Regression(
        encoder=want["encoder"],
        pool=int(want["pool"]),
        color="predict",
        background={"-": None, "0.5": 0.5, "mean": "mean"}[want["background"]],
        per_sprite=want["sprite_seq"] != "id",
        joins=int(want["milestone"]),
        first_scale=side / 2 / int(want["size"]),
        freeze=int(want["freeze"]),
        mask_noise=0.4,
        selection="greedy",
        sweeps=int(want["sweeps"]),
        empty=want["lambda"] != "-",
        reassignment=ClonePerturb(int(want["check"]), 0.2, 1e-4),
        batch_size=int(want["batch"]),
        learning_rate=float(want["rate"]),
        drops=tuple(int(drop) for drop in want["drops"].split(",")),
        factor=0.1,
        stops=False,
    )
    expected = {
        "n_sprites": int(want["sprites"]),
        "n_layers": int(want["layers"]),
        "n_backgrounds": int(want["backgrounds"]),
        "sprite_size": int(want["size"]),
        "transformations": {
            "id": ("translation", "scale"),
            "id-sim": ("similarity",),
            "id-proj": ("projective",),
        }[want["sprite_seq"]],
        "color": "gain",
        "order": {"fixed": "depth", "pred": "predict"}[want["occlusion"]],
        "init": ConstantSprites(0.9, float(want["mask"])),
        "max_rounds": int(want["epochs"]),
        "localizer": regression,
    }
    assert {key: found[key] for key in expected} == expected
    if has_background:
        assert found["background"] == "image"
        per_value = found["penalty"] / (3 * side**2)
        assert per_value == pytest.approx(float(want["lambda"]))
    assert set(scene_sets()) == set(SCENES)


@pytest.mark.parametrize("name", SCENES)
def test_every_configuration_of_scenes_fits_two_epochs(name):
    X = np.random.default_rng(0).random((8, 14, 14, 3)).astype(np.float32)
    model = LayeredSpriteDecomposition.from_paper(
        name, sprite_size=6, max_rounds=2, random_state=0
    ).fit(X)
    assert len(model.loss_curve_) == 2
    assert model.predict(X).shape == (8, 14, 14)
    again = model.decompose(X)
    np.testing.assert_array_equal(again.sprite, model.decomposition_.sprite)
    assert model.decomposition_.shown.all() or name != "tetrominoes"


def test_an_unknown_set_of_scenes_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"knows no 'clevr'.*clevr6, multi_dsprites"):
        LayeredSpriteDecomposition.from_paper("clevr")
