"""The floors of docs/architecture.md: imports are absolute and go only downwards."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sklearn_sprites

ROOT = Path(sklearn_sprites.__file__).parent
NAME = "sklearn_sprites"

# Rooms from the ground up; a module belongs to the longest prefix that matches.
FLOORS = {
    "exceptions": -1,
    "_version": -1,
    "_engine.ops": 0,
    "_engine.runtime": 0,
    "_engine.attention_settings": 0,
    "_engine.ranges": 0,
    "_engine.records": 0,
    "_engine.regression_settings": 0,
    "_engine.scene_records": 0,
    "_engine.scene_settings": 0,
    "_engine.search_settings": 0,
    "_engine.scene_spec": 0,
    "_engine.settings": 0,
    "_engine.spec": 0,
    "_engine.workers": 0,
    "_engine.modules": 1,
    "_engine.models": 2,
    "_engine.training": 3,
    "_engine.search": 3,
    "_engine.checkpoint": 4,
    "_engine.inference": 4,
    "_engine.regression_inference": 4,
    "_engine.scene_inference": 4,
    "_engine.scene_decoys": 4,
    "_engine.scene_layers": 4,
    "_forms": 5,
    "_validation": 5,
    "_warning": 5,
    "_base": 5,
    "_callbacks": 5,
    "_clustering": 5,
    "_consistency": 5,
    "_decomposition": 5,
    "_description": 5,
    "_loading": 5,
    "_papers": 5,
    "_pixel_weights": 5,
    "_plain_values": 5,
    "_publishing": 5,
    "_restarts": 5,
    "_saving": 5,
    "_scene_checks": 5,
    "_scene_choices": 5,
    "_scene_description": 5,
    "_scene_publishing": 5,
    "_scene_restarts": 5,
    "_scenes": 5,
    "display": 6,
    "testing": 6,
}
# Side rooms know nothing of the rest but the exceptions.
SIDE_ROOMS = ("metrics", "datasets")
PRIVATE_SKLEARN = ("_validation",)


def within(module, room):
    return module == room or module.startswith(room + ".")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path.read_text() for path in ROOT.rglob("*.py")}
# The package's own __init__ is the lazy list of public names, above every floor.
MODULES = sorted(name for name in SOURCES if name not in ("", "_engine"))


def imports(source):
    """Pairs (level, dotted name) of all imports, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((node.level, f"{base}.{alias.name}") for alias in node.names)


def own_imports(source):
    """Modules of this package that a source imports, by their name inside it."""
    found = set()
    for _, dotted in imports(source):
        if within(dotted, NAME):
            name = dotted.removeprefix(NAME).removeprefix(".")
            found.add(name if name in SOURCES else name.rpartition(".")[0])
    return found


def floor(module):
    rooms = [room for room in FLOORS if within(module, room)]
    return FLOORS[max(rooms, key=len)] if rooms else None


def upward(module, source):
    """Imports of a module that its room does not allow."""
    for room in SIDE_ROOMS:
        if within(module, room):
            allowed = (room, "exceptions")
            return [
                name
                for name in own_imports(source)
                if not any(within(name, place) for place in allowed)
            ]
    return [
        name
        for name in own_imports(source)
        if floor(name) is None or floor(name) > floor(module)
    ]


def foreign(source, package):
    return [dotted for _, dotted in imports(source) if within(dotted, package)]


def private_sklearn(source):
    dotted = foreign(source, "sklearn")
    return [d for d in dotted if any(part.startswith("_") for part in d.split("."))]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_floor_or_is_a_side_room(module):
    assert floor(module) is not None or module.split(".")[0] in SIDE_ROOMS


@pytest.mark.parametrize("module", SOURCES)
def test_imports_are_absolute(module):
    assert not [name for level, name in imports(SOURCES[module]) if level > 0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_only_downwards(module):
    assert upward(module, SOURCES[module]) == []


def test_modules_import_each_other_in_no_cycle():
    graph = {name: own_imports(SOURCES[name]) - {name} for name in MODULES}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) >= set(MODULES)


@pytest.mark.parametrize("module", SOURCES)
def test_torch_stays_in_the_engine(module):
    if not within(module, "_engine"):
        assert foreign(SOURCES[module], "torch") == []


@pytest.mark.parametrize("module", SOURCES)
def test_sklearn_stays_out_of_the_engine(module):
    if within(module, "_engine"):
        assert foreign(SOURCES[module], "sklearn") == []


@pytest.mark.parametrize("module", SOURCES)
def test_private_sklearn_is_imported_in_one_file(module):
    if module not in PRIVATE_SKLEARN:
        assert private_sklearn(SOURCES[module]) == []


@pytest.mark.parametrize(
    "name",
    [
        "settings",
        "spec",
        "regression_settings",
        "scene_settings",
        "search_settings",
        "scene_spec",
        "scene_records",
    ],
)
def test_descriptions_of_a_model_need_no_torch(name):
    assert foreign(SOURCES[f"_engine.{name}"], "torch") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("_engine.ops.warps", "from sklearn_sprites._engine.modules import sprites"),
        ("_engine.training.fit", "import sklearn_sprites._base"),
        ("metrics", "def f():\n    from sklearn_sprites._engine import spec"),
        ("_base", "from sklearn_sprites import display"),
        ("_clustering", "from sklearn_sprites import SpriteClustering"),
    ],
)
def test_an_upward_import_is_found(module, source, monkeypatch):
    for name in ("_base", "display", "_engine.modules", "_engine.spec"):
        monkeypatch.setitem(SOURCES, name, SOURCES.get(name, ""))
    assert len(upward(module, source)) == 1


def test_a_private_import_is_found():
    assert private_sklearn("from sklearn.utils._param_validation import Interval")
    assert private_sklearn("from sklearn.utils import _mask")
    assert not private_sklearn("from sklearn.utils import check_array")
