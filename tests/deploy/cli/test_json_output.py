"""With --json standard output is one document, whatever code of the user's prints."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import keras
import pytest

from edgepress.deploy.cli.main import main


def test_what_the_users_code_prints_goes_to_standard_error(tmp_path) -> None:
    image = keras.Input((4,))
    keras.Model(image, keras.layers.Dense(2, activation="softmax")(image)).save(
        tmp_path / "m.keras"
    )
    (tmp_path / "f.py").write_text(
        "import numpy as np\n"
        "import tensorflow as tf\n"
        "print('imported')\n"
        "def rows():\n"
        "    for k in range(8):\n"
        "        print('row')\n"
        "        yield np.ones(4, 'float32') * k, k % 2\n"
        "def data():\n"
        "    import atexit, os, sys\n"
        "    atexit.register(print, 'end')\n"
        "    os.write(1, b'written\\n')\n"
        "    os.system('echo started')\n"
        "    print('under', file=sys.__stdout__)\n"
        "    print('opened')\n"
        "    kinds = (tf.TensorSpec((4,)), tf.TensorSpec((), tf.int32))\n"
        "    stream = tf.data.Dataset.from_generator(rows, output_signature=kinds)\n"
        "    return {'test': stream.batch(4)}\n"
    )
    command = ["doctor", "m.keras", "--data", "f.py:data", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "edgepress", *command],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "findings" in json.loads(done.stdout)
    assert {"imported", "opened", "row", "end", "written", "started", "under"} <= set(
        done.stderr.split()
    )


def test_a_bad_command_line_leaves_standard_output_as_it_was(monkeypatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "m.keras", "--json", "--unknown"])
    assert stopped.value.code == 2
    assert sys.stdout is output
