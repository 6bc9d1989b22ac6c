"""What estimators hold, as values that fit into JSON, beside arrays; and back."""

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_settings import Distilled
from sklearn_sprites._engine.search_settings import Search
from sklearn_sprites._engine.settings import (
    ClonePerturb,
    ConstantSprites,
    GaussianWindow,
    Milestones,
    Swap,
)
from sklearn_sprites._scenes import Decomposition

TAG = "!"  # the key that tells what else than a dictionary is meant
DTYPES = {
    *("bool", "float16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}
NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
# The only classes that a file can name.
RECORDS = {
    kind.__name__: kind
    for kind in (
        *(Attention, ClonePerturb, ConstantSprites, Decomposition, Distilled),
        *(GaussianWindow, Milestones, Regression, Search, Swap),
    )
}


class Writer:
    """Takes values apart; what is an array is kept in `arrays`, by its path."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray] = {}

    def plain(self, value: Any, path: str) -> Any:
        """The value for JSON; TypeError, with its path, if there is none."""
        if isinstance(value, np.generic) and not isinstance(value, np.str_):
            return self._array(np.asarray(value), path, "scalar")
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {TAG: "float", "is": str(value)}
        if isinstance(value, np.ndarray):
            return self._array(value, path, "array")
        if type(value) is list:
            return self._items(value, path)
        if type(value) is tuple:
            return {TAG: "tuple", "items": self._items(value, path)}
        if isinstance(value, dict):
            return self._entries(value, path)
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
            return {TAG: "random_state", "is": self.plain(state, path)}
        if is_dataclass(value) and RECORDS.get(type(value).__name__) is type(value):
            found = {f.name: getattr(value, f.name) for f in fields(value)}
            name = type(value).__name__
            return {TAG: "record", "name": name, "fields": self._entries(found, path)}
        raise TypeError(
            f"{path} is a {type(value).__name__}, which these files cannot hold: they "
            "have numbers, text, arrays and settings of this package only; pickle the "
            "estimator instead."
        )

    def _items(self, values: Any, path: str) -> list:
        return [self.plain(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _entries(self, values: dict, path: str) -> dict[str, Any]:
        odd = [key for key in values if not isinstance(key, str) or key == TAG]
        if odd:
            raise TypeError(f"{path} has the key {odd[0]!r}; keys must be text.")
        return {
            key: self.plain(value, f"{path}.{key}") for key, value in values.items()
        }

    def _array(self, array: NDArray, path: str, tag: str) -> dict[str, Any]:
        if array.dtype.kind in "OU" and all(type(v) is str for v in array.flat):
            kind = "object" if array.dtype.kind == "O" else "str"
            shape, text = list(array.shape), [str(v) for v in array.flat]
            return {TAG: "text", "dtype": kind, "shape": shape, "items": text}
        if array.dtype.name not in DTYPES:
            raise TypeError(
                f"{path} is an array of {array.dtype}, which these files cannot hold; "
                "use an array of numbers."
            )
        while path in self.arrays:  # a name with a dot may look like a path
            path += "'"
        self.arrays[path] = array
        return {TAG: tag, "name": path}


class Reader:
    """Puts values together again; `arrays` are those that are not yet taken."""

    def __init__(self, arrays: dict[str, NDArray]) -> None:
        self.arrays = dict(arrays)

    def value(self, plain: Any) -> Any:
        """What the writer took apart; ValueError or the like if it never did."""
        if isinstance(plain, list):
            return [self.value(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        if TAG not in plain:
            return {key: self.value(item) for key, item in plain.items()}
        return self._tagged(plain[TAG], plain)

    def _tagged(self, tag: str, plain: dict[str, Any]) -> Any:
        if tag in ("array", "scalar"):
            if plain["name"] not in self.arrays:
                raise ValueError(f"the array {plain['name']!r} is missing")
            array = self.arrays.pop(plain["name"])
            return array if tag == "array" else array[()]
        if tag == "tuple":
            return tuple(self.value(item) for item in plain["items"])
        if tag == "float":
            return NOT_FINITE[plain["is"]]
        if tag == "text":
            kind = {"object": object, "str": str}[plain["dtype"]]
            return np.array(plain["items"], dtype=kind).reshape(plain["shape"])
        if tag == "random_state":
            generator = np.random.RandomState()
            generator.set_state(self.value(plain["is"]))
            return generator
        if tag == "record":
            return RECORDS[plain["name"]](**self.value(plain["fields"]))
        raise ValueError(f"{tag!r} is no kind of value")
