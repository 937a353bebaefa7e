"""TensorFlow's kernels are chosen before it loads, and a user's choice stands."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

NAME = "TF_ENABLE_ONEDNN_OPTS"


def _setting(first: str, **given: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != NAME} | given
    code = f"{first}import os; from edgepress import compress; compress.__all__; "
    code += f"print(os.environ.get('{NAME}', 'unset'))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 kernels")
def test_the_faster_kernels_are_on_unless_the_user_or_tensorflow_was_first() -> None:
    assert _setting("") == "1"
    assert _setting("", **{NAME: "0"}) == "0"
    assert _setting("import sys; sys.modules['tensorflow'] = None; ") == "unset"
