"""From real numbers to a tensor's own type and back: beside `runner.py` on boards, NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_tensor(array: NDArray[Any], spec: dict[str, Any]) -> NDArray[Any]:
    """An array in the tensor's type; real numbers are quantised for a quantised tensor."""
    import numpy as np

    dtype = np.dtype(spec["dtype"])
    if spec.get("scale") and array.dtype.kind == "f" and dtype.kind in "iu":
        info = np.iinfo(dtype)
        levels = np.rint(array.astype(np.float64) / spec["scale"]) + spec["zero_point"]
        return np.clip(levels, info.min, info.max).astype(dtype)
    return np.ascontiguousarray(array, dtype=dtype)


def to_real(array: NDArray[Any], spec: dict[str, Any]) -> NDArray[Any]:
    """The real numbers of a quantised tensor; other tensors as they are."""
    import numpy as np

    if spec.get("scale") and array.dtype.kind in "iu":
        return ((array.astype(np.float64) - spec["zero_point"]) * spec["scale"]).astype(np.float32)
    return array


def fill(shape: tuple[int, ...], dtype: str, seed: int) -> NDArray[Any]:
    """Input for timing: floats in 0..1, all levels of 8 bits, zeros for indices."""
    import numpy as np

    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.random(shape, dtype=np.float32).astype(kind)
    if kind in (np.dtype("int8"), np.dtype("uint8")):
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max + 1, shape, dtype=kind)
    return np.zeros(shape, kind)


def chosen(name: str, specs: list[dict[str, Any]], arrays: dict[str, Any]) -> list[Any]:
    """The arrays in the order of the model's inputs, found by signature or tensor name."""
    if len(arrays) == len(specs) == 1:
        return list(arrays.values())
    found = [arrays.get(s["name"], arrays.get(s["tensor"])) for s in specs]
    if any(array is None for array in found):
        known = ", ".join(s["name"] for s in specs)
        raise ValueError(f"'{name}' takes the inputs {known}, not {', '.join(sorted(arrays))}")
    return found


def file_of(path: str) -> str | bytes:
    """A file as runtimes take it: by its name, or by its content where that isn't UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:  # noqa: PTH123  a board's Python loads no more than it must
            return file.read()
    return path
