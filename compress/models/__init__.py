"""Keras models: reading, writing and recognising them.

The names load on first use: what a path names is told without HDF5 and NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgepress.compress.models.compile_info import restore_compilation as restore_compilation
    from edgepress.compress.models.fingerprints import fingerprint as fingerprint
    from edgepress.compress.models.reading import Loaded as Loaded
    from edgepress.compress.models.reading import load as load
    from edgepress.compress.models.reading import load_noted as load_noted
    from edgepress.compress.models.user_code import call_reference as call_reference
    from edgepress.compress.models.user_code import is_reference as is_reference
    from edgepress.compress.models.writing import save as save

__getattr__, __dir__, __all__ = lazy_names(__name__)
