"""What converters say, in words that name the operator and the way out."""

from __future__ import annotations

import re

# (pattern in the converter's text, sentence; groups of the pattern fill it)
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"16x8(?:-bit)? not yet supported for op: '(\w+)'",
        "TFLite has no 16-bit version of the operator {0}",
    ),
    (
        r"Max and min for dynamic tensors should be recorded",
        "int16x8 can't calibrate an operator whose input is an index",
    ),
    (
        r"Select TensorFlow op.*\(Flex(\w+)\)",
        "ranges can't be taken from samples: TensorFlow's own kernel {0} doesn't run here",
    ),
    (
        r"TensorListReserve",
        "a recurrent layer with a free batch or step count has no TFLite form; fix both",
    ),
    (
        r"Some ops in the model are custom ops.*?(tf\.\w+)",
        "TFLite has no operator for {0}",
    ),
    (
        r"failed to legalize operation '(tfl?\.\w+)'",
        "TFLite has no operator for {0}",
    ),
    (
        r"'(tf\.\w+)' op is neither a custom op nor a flex op",
        "TFLite has no operator for {0}",
    ),
    (
        r"Quantization not yet supported for op: '(\w+)'",
        "TFLite has no 8-bit version of the operator {0}",
    ),
    (
        r"(?:Could not find an implementation|No Op registered) for (\w+)",
        "ONNX Runtime has no operator {0}",
    ),
    (
        r"(\w+) ops? (?:are|is) not supported",
        "the operator {0} can't be converted",
    ),
)


# Meanings that only a conversion to TFLite has: the same words in ONNX's texts mean something else.
_OF_TFLITE = frozenset({r"TensorListReserve"})


def explain(text: str, task: str = "") -> str:
    """The meaning of a converter's message, or "" where it isn't known.

    Args:
        text: What the converter said.
        task: The conversion's name.
    """
    for pattern, sentence in _MEANINGS:
        if pattern in _OF_TFLITE and not task.startswith("tflite"):
            continue
        found = re.search(pattern, text, re.S)
        if found:
            return sentence.format(*found.groups())
    return ""
