"""What look-up layers learned from data, which neither their settings nor their weights hold."""

from __future__ import annotations

from typing import Any


def copy_vocabulary(source: Any, target: Any) -> None:
    """Give a copy of a look-up layer the vocabulary that the layer was adapted to.

    Args:
        source: A layer of any kind.
        target: One of the same settings.
    """
    import keras
    from keras.src.layers.preprocessing.index_lookup import IndexLookup

    if isinstance(source, keras.layers.TextVectorization):
        source, target = source._lookup_layer, target._lookup_layer
    if source is target or not isinstance(source, IndexLookup) or source._has_input_vocabulary:
        return
    words = source.get_vocabulary()
    if len(words) <= source._token_start_index():  # adapted to nothing yet
        return
    weights = source.idf_weights if source.output_mode == "tf_idf" else None
    if weights is None:
        target.set_vocabulary(words)
        return
    target.set_vocabulary(words, idf_weights=keras.ops.convert_to_numpy(weights)[: len(words)])
