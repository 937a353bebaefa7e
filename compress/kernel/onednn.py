"""Which of its kernels TensorFlow uses on this processor; decided before it is imported."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# The signal that ended this work's training when it used oneDNN's kernels.
_CRASH = "EDGEPRESS_ONEDNN_CRASH"
# Beside checkpoints and in a run's folder: the signal, so that a later call goes on without them.
CRASH_FILE = ".onednn.state"


def prefer_onednn() -> None:
    """Let TensorFlow compute with oneDNN's kernels on every x86 processor.

    By itself it does so only where the processor has AVX-512 VNNI or better. On one without
    (AMD EPYC, AVX2), a training step of ResNet-8 takes two thirds of the time with them. Does
    nothing where `TF_ENABLE_ONEDNN_OPTS` is set or TensorFlow is loaded already.
    """
    if "tensorflow" not in sys.modules and platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault(VARIABLE, "1")


def is_off() -> bool:
    """Whether TensorFlow is told to use no kernels of oneDNN."""
    return os.environ.get(VARIABLE) == "0"


def variables_after(crash: str) -> Mapping[str, str]:
    """The environment of a process that does work which crashed with oneDNN's kernels.

    Args:
        crash: Name of the signal; empty where it did not crash.
    """
    return {VARIABLE: "0", _CRASH: crash} if crash else {}


def crash_notes() -> tuple[str, ...]:
    """What a result says where its training went on after such a crash."""
    crash = os.environ.get(_CRASH)
    if not crash or not is_off():
        return ()
    return (
        f"the training crashed ({crash}) with oneDNN's kernels and went on without them"
        f" ({VARIABLE}=0)",
    )
