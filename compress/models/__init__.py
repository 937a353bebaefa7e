"""Keras models: reading, writing and recognising them."""

from edgepress.compress.models.compile_info import restore_compilation
from edgepress.compress.models.fingerprints import fingerprint
from edgepress.compress.models.reading import Loaded, load, load_noted
from edgepress.compress.models.user_code import call_reference, is_reference
from edgepress.compress.models.writing import save

__all__ = [
    "Loaded",
    "call_reference",
    "fingerprint",
    "is_reference",
    "load",
    "load_noted",
    "restore_compilation",
    "save",
]
