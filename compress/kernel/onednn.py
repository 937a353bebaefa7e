"""Which of its kernels TensorFlow uses on this processor; decided before it is imported."""

from __future__ import annotations

import os
import platform
import sys


def prefer_onednn() -> None:
    """Let TensorFlow compute with oneDNN's kernels on every x86 processor.

    By itself it does so only where the processor has AVX-512 VNNI or better. On one without
    (AMD EPYC, AVX2), a training step of ResNet-8 takes two thirds of the time with them. Does
    nothing where `TF_ENABLE_ONEDNN_OPTS` is set or TensorFlow is loaded already.
    """
    if "tensorflow" not in sys.modules and platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
