"""What a file or folder is that holds no Keras model, told by how it begins, and the way on."""

from __future__ import annotations

from pathlib import Path

from edgepress.compress.models.guarding.archives import open_archive

_BUILD = "build the model in a function and give file.py:function"
# How a file begins → what it is, and the way on.
_HEADS: dict[bytes, tuple[str, str]] = {
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "run git lfs pull"),
    b"<": ("a web page or XML", "it was downloaded from the wrong address: get the file itself"),
    b"{": (
        "text in JSON: at most the architecture of a model, without weights",
        "make the model in a function, with keras.models.model_from_json and load_weights, and"
        " give file.py:function",
    ),
    b"\x1f\x8b": ("compressed by gzip", "unpack it"),
    b"BZh": ("compressed by bzip2", "unpack it"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it"),
    b"7z\xbc\xaf": ("compressed by 7-Zip", "unpack it"),
    b"Rar!": ("compressed by RAR", "unpack it"),
    b"\x80": ("a Python pickle, as PyTorch and others write; edgepress never unpickles", _BUILD),
    b"\x89PNG": ("an image", "give a model"),
}
_SUFFIXES: dict[str, tuple[str, str]] = {
    ".py": ("Python code", "name its function: file.py:function"),
    ".pb": ("a TensorFlow graph", "give the folder of a SavedModel, or the Keras model itself"),
    ".index": ("a part of a TensorFlow checkpoint: weights without a model", _BUILD),
}


def file_kind(path: Path) -> tuple[str, str]:
    """What a file is that is neither a `.keras` archive nor HDF5.

    Returns:
        What it is, with its article, and the way on; empty where neither is known.
    """
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    return next((said for start, said in _HEADS.items() if head.startswith(start)), ("", ""))


def archive_kind(path: Path) -> tuple[str, str]:
    """What a zip archive is whose name doesn't end in `.keras`."""
    with open_archive(path) as archive:
        names = archive.namelist()
    if "config.json" in names:
        return "a .keras archive under another name", "let its name end in .keras"
    if any(name.endswith(("data.pkl", "code.pkl")) for name in names):
        return "a PyTorch file", _BUILD
    return "a zip archive, but not one of Keras", "if a model is in it, unpack it"


def folder_kind(path: Path) -> tuple[str, str]:
    """What a folder without a `saved_model.pb` is, and the way on."""
    inside = sorted(path.iterdir())
    deeper = [p for p in inside if (p / "saved_model.pb").is_file()]
    if deeper:
        return "holds SavedModels, but isn't one", f"give '{deeper[-1]}'"
    if any(p.suffix == ".index" for p in inside):
        return "holds a TensorFlow checkpoint: weights without a model", _BUILD
    models = [p for p in inside if p.suffix in (".keras", ".h5", ".hdf5", ".tflite", ".onnx")]
    if models:
        return "is a folder, not a model", f"give '{models[0]}'"
    return (
        "is a folder but not a SavedModel: it has no saved_model.pb",
        "give a .keras or .h5 file, or the folder that model.save() wrote",
    )
