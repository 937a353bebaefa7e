"""Generators of code of the user's that fails: on import, when it is called, or later."""

from __future__ import annotations

from fuzz_bytes import mutated
from fuzz_case import OUTPUT, Case
from hypothesis import strategies as st

_FAULTS = (
    "raise ValueError('a\\nb')",
    "1/0",
    "raise SystemExit",
    "raise SystemExit(0)",
    "exit()",
    "raise KeyError(())",
    "class E(BaseException): pass\nraise E('x')",
    "x = (",
    "\tx=1\n x=2",
    "import nothing_of_that_name",
    "raise RecursionError",
    "raise MemoryError",
    "raise OSError(2, 'x')",
    "assert 0",
    "raise Exception(b'\\xff')",
    "def f(): return f()\nf()",
    "pass",
    "raise UnicodeDecodeError('utf-8', b'', 0, 1, 'x')",
    "raise StopIteration",
    "raise GeneratorExit",
)
_RETURNS = (
    "None",
    "1",
    "[]",
    "{}",
    "{'train': None}",
    "{'train': ([], [])}",
    "{'x': [1], 'y': [1]}",
    "{'x': object(), 'y': 1}",
    "{1: 2}",
    "{'train': (1, 2, 3)}",
    "{'x': [[1, 2], [3]], 'y': [0, 1]}",
    "(1, 2)",
    "{'x': np.ones((12, 4)), 'y': np.arange(12) % 3}",
    "iter([])",
    "print",
    "{'x': np.float32(1), 'y': 1}",
    "{'train': (x for x in [])}",
    "{'train': np.ones((2, 12))}",
    "{'train': tf.data.Dataset.from_generator(bad, output_signature=SIGNATURE)}",
    "{'train': tf.data.Dataset.range(3)}",
    "{'train': tf.data.Dataset.range(0)}",
    "{'train': tf.data.Dataset.from_tensor_slices((np.ones((12, 4)), np.arange(12) % 3)).repeat()}",
    "[keras.callbacks.Callback()]",
    "[Bad()]",
    "Bad",
    "Bad()",
    "keras.Sequential([keras.layers.Dense(3)])",
    "keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])",
    "keras.Input((3,))",
    "lambda: 1",
)


@st.composite
def code_cases(draw: st.DrawFn) -> Case:
    """Code of the user's that fails: on import, when called, later, or with an odd value."""
    fault = draw(st.sampled_from(_FAULTS))
    indented = "\n".join("    " + line for line in fault.splitlines())
    late = indented.replace("\n", "\n    ")
    text = (
        "import keras\nimport numpy as np\nimport tensorflow as tf\n"
        f"def bad():\n    yield np.ones(4, 'f4'), 0.0\n{indented}\n"
        "SIGNATURE = (tf.TensorSpec((4,)), tf.TensorSpec(()))\n"
        "class Bad(keras.callbacks.Callback):\n"
        f"    def on_epoch_begin(self, epoch, logs=None):\n    {late}\n"
        f"def f(*a, **k):\n    return {draw(st.sampled_from(_RETURNS))}\n"
        f"def g(*a, **k):\n{indented}\n"
    )
    if draw(st.integers(0, 2)) == 0:
        text = f"{fault}\n{text}"
    content = text.encode()
    if draw(st.integers(0, 5)) == 0:
        content = draw(mutated(content))
    named = f"code.py:{draw(st.sampled_from(['f', 'f', 'g', 'h', 'np', 'Bad', '__doc__']))}"
    tune = ("-o", f"{OUTPUT}.keras", "--epochs", "1")
    words = draw(
        st.sampled_from(
            [
                ("finetune", "m.keras", "--data", named, *tune),
                ("finetune", "m.keras", "--data", "good.npz", "--callbacks", named, *tune),
                ("finetune", "m.keras", "--data", "good.npz", "--custom-objects", "code.py", *tune),
                ("finetune", "m.keras", "--data", "good.npz", "--teacher", named, *tune),
                ("finetune", "m.keras", "--data", "good.npz", "--loss", named, *tune),
                ("finetune", "m.keras", "--data", "good.npz", "--metric", named, *tune),
                ("inspect", named),
                ("inspect", "m.keras", "--custom-objects", "code.py"),
                ("doctor", "m.keras", "--data", named),
                ("inspect", "--custom-objects", "code.py", named),
            ]
        )
    )
    return Case("code", words, {"code.py": content})
