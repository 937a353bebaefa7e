"""Bad input: one line that names the culprit, exit code 2, nothing written or lost."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from edgepress.deploy.cli import main

RANDOM = np.random.default_rng(0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, good data, and many kinds of bad files."""
    monkeypatch.chdir(tmp_path)
    x = keras.Input((4,))
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    keras.Model(x, keras.layers.Dense(3, activation="softmax", name="out")(hidden)).save("m.keras")
    rows = RANDOM.normal(size=(40, 4)).astype(np.float32)
    labels = np.arange(40) % 3
    np.savez("good.npz", x=rows, y=labels)
    np.savez("single.npz", x=rows[:1], y=labels[:1])
    np.savez("wide.npz", x=np.ones((40, 5)), y=labels)
    np.savez("labels.npz", x=rows, y=labels + 3)
    np.savez("nan.npz", x=np.where(np.arange(40)[:, None] == 7, np.nan, rows), y=labels)
    Path("empty").mkdir()
    Path("text.keras").write_text("no model")
    Path("text.h5").write_text("no model")
    Path("cut.keras").write_bytes(Path("m.keras").read_bytes()[:-400])
    Path("taken.keras").write_text("mine")
    Path("mine.png").write_text("mine")
    Path(".kept.keras.state").mkdir()
    Path(".kept.keras.state/mine.txt").write_text("mine")
    Path(".held.keras.state").mkdir()
    np.savez(".held.keras.state/mine.npz", x=rows)
    Path(".linked.keras.state").symlink_to("empty")
    Path("r.yaml").write_text(RECIPE)
    Path("ends.py").write_text("def f():\n    raise SystemExit(0)\n")
    Path("calls.py").write_text(
        "import keras\nclass C(keras.callbacks.Callback):\n"
        "    def on_epoch_begin(self, epoch, logs=None):\n        1 / 0\n"
    )
    Path("seed.yaml").write_text("model: m.keras\ndata: good.npz\nseed: 4294967296\n")
    Path("half.yaml").write_text(f'{RECIPE}export: {{quantize: "\\uD800"}}\n')
    Path("deep.yaml").write_text("model: " + "[" * 5000)
    Path("names.onnx").write_bytes(onnx_file().replace(b"~~", b"\xff\xfe"))
    Path("bare.yaml").write_text("data: good.npz")
    return tmp_path


def onnx_file() -> bytes:
    """An identity whose input is called `~~`."""
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("~~", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([helper.make_node("Identity", ["~~"], ["y"])], "g", [x], [y])
    return bytes(helper.make_model(graph).SerializeToString())


RECIPE = """model: m.keras
data: good.npz
prune:
  - {structure: weights, sparsty: 0.5}
"""
TUNE = ["finetune", "m.keras", "--data", "good.npz", "-o", "out.keras", "--epochs", "1"]
LINE = ["compress", "m.keras", "--data", "good.npz", "-o", "out"]
CASES = {
    "no such model": (["finetune", "no.keras", *TUNE[2:]], "'no.keras' does not exist"),
    "text as archive": (["finetune", "text.keras", *TUNE[2:]], "'text.keras' is an incomplete"),
    "text as hdf5": (["finetune", "text.h5", *TUNE[2:]], "'text.h5' is not a Keras model"),
    "truncated": (["finetune", "cut.keras", *TUNE[2:]], "'cut.keras' is an incomplete"),
    "no such data": ([*TUNE, "--data", "no.npz"], "'no.npz' does not exist"),
    "other shape": ([*TUNE, "--data", "wide.npz"], "samples have shape (5,)"),
    "labels": ([*TUNE, "--data", "labels.npz"], "labels run from 3 to 5"),
    "NaN": ([*TUNE, "--data", "nan.npz"], "in sample 7"),
    "empty folder": ([*TUNE, "--data", "empty"], "'empty' is empty"),
    "unknown layer": ([*TUNE, "--unfreeze", "hiden"], "hiden"),
    "unknown optimizer": ([*TUNE, "--optimizer", "adm"], "adm"),
    "unknown schedule": ([*TUNE, "--schedule", "cosin"], "cosin"),
    "unknown loss": ([*TUNE, "--loss", "msee"], "msee"),
    "unknown metric": ([*TUNE, "--metric", "acuracy"], "acuracy"),
    "unknown augmentation": ([*TUNE, "--augment", "flop"], "flop"),
    "output exists": ([*TUNE, "-o", "taken.keras"], "'taken.keras' exists already"),
    "output below a file": ([*TUNE, "-o", "m.keras/out.keras"], "is not a folder"),
    "negative epochs": ([*TUNE, "--epochs", "-1"], "--epochs -1"),
    "sparsity above 1": (
        ["prune", "m.keras", "-o", "out.keras", "--sparsity", "1"], "--sparsity 1"
    ),
    "unknown criterion": (
        ["prune", "m.keras", "-o", "out.keras", "--sparsity", "0.5", "--criterion", "l3"], "l3"
    ),
    "int8 without data": (
        ["export", "m.keras", "-o", "out", "--quantize", "int8"], "pass --data"
    ),
    "unknown format": (["export", "m.keras", "-o", "out", "--format", "tflit"], "tflit"),
    "unknown precision": (["export", "m.keras", "-o", "out", "--quantize", "int9"], "int9"),
    "a scale by nothing": ([*TUNE, "--scale", "1/0"], "write a number, such as 0.5 or 1/255"),
    "a size in words": ([*TUNE, "--resize", "big"], "such as 96x96"),
    "loss of values for classes": ([*TUNE, "--loss", "mse"], "take sparse_categorical"),
    "metric of values for classes": ([*TUNE, "--metric", "rmse"], "take accuracy"),
    "unknown device": ([*LINE, "--device", "phone"], "unknown device 'phone'"),
    "unknown weight criterion": ([*LINE, "--sparsity", "0.5", "--criterion", "l3"], "l3"),
    "unknown channel criterion": (
        [*LINE, "--structure", "channels", "--target-macs", "0.5", "--criterion", "talor"], "talor"
    ),
    "class weights of recovery": (
        [*LINE, "--sparsity", "0.5", "--recover-class-weights", "1/3"],
        "--recover-class-weights 1/3: write none, balanced, or the weight of each class",
    ),
    "unknown schedule of recovery": (
        [*LINE, "--sparsity", "0.5", "--recover-epochs", "1", "--recover-schedule", "cosin"],
        "cosin",
    ),
    "unknown precision of a run": ([*LINE, "--quantize", "int9"], "int9"),
    "a recipe and options": (
        ["compress", "r.yaml", "-o", "out", "--epochs", "3"], "drop --epochs"
    ),
    "a recipe and data options": (
        ["compress", "r.yaml", "-o", "out", "--scale", "2"], "drop --scale"
    ),
    "unknown key": (["compress", "r.yaml", "-o", "out"], "r.yaml:4: unknown option"),
    "no model in a recipe": (["compress", "bare.yaml", "-o", "out"], "'model' is missing"),
    "resume with callbacks": (
        ["compress", "--resume", "empty", "--callbacks", "c.py:make"], "drop --callbacks"
    ),
    "resume with another seed": (["compress", "--resume", "empty", "--seed", "3"], "drop --seed"),
    "resume elsewhere": (["compress", "--resume", "empty", "-o", "out"], "drop -o"),
    "a floor without data": (
        ["prune", "m.keras", "-o", "o.keras", "--sparsity", "0.5", "--max-drop", "0"], "--data"
    ),
    "no samples": (
        ["export", "m.keras", "-o", "out", "--verify-samples", "0"], "--verify-samples 0"
    ),
    "a batch of none": (["export", "m.keras", "-o", "out", "--batch", "0"], "--batch 0"),
    "threads of none": (["benchmark", "m.tflite", "--threads", "2,0"], "--threads 0: "),
    "unknown cores": (["benchmark", "m.tflite", "--cpus", "a"], "--cpus a: "),
    "no time": (["benchmark", "m.tflite", "--device-timeout", "0"], "--device-timeout 0: "),
    "random changes without training": (
        ["export", "m.keras", "-o", "out", "--data", "good.npz", "--augment", "noise:0.1"],
        "--augment needs --qat-epochs",
    ),
    "nothing held out": (
        ["export", "m.keras", "-o", "out", "--data", "single.npz"], "neither a test nor",
    ),
    "a history in a folder": (
        ["benchmark", "taken.keras", "--history", "empty"], "can't be used as a history",
    ),
    "a report below a file": (
        ["benchmark", "taken.keras", "--junit", "m.keras/junit.xml"], "is not a folder",
    ),
    "a report over a model": (
        ["benchmark", "taken.keras", "--junit", "m.keras"], "'m.keras' exists already and is no",
    ),
    "a report over what is measured": (
        ["benchmark", "taken.keras", "--github", "taken.keras"], "the input 'taken.keras' is the",
    ),
    "a result over what is measured": (
        ["benchmark", "taken.keras", "-o", "taken.keras", "--force"], "can't be replaced",
    ),
    "a file for two outputs": (
        ["benchmark", "taken.keras", "-o", "b.json", "--github", "./b.json"], "replace each other",
    ),
    "a log over the model it is of": ([*TUNE, "--log-csv", "./out.keras"], "replace each other"),
    "a log over the history": ([*TUNE, "--log-csv", "out.json"], "replace each other"),
    "a plot over an earlier one": (
        ["verify", "m.keras", "taken.keras", "--layers", "--plot", "mine.png"], "pass --force"
    ),
    "a plot over the data": (
        ["lr-find", "m.keras", "--data", "mine.png", "-o", "mine.png", "--force"], "the input",
    ),
    "the folder that we are in": (
        ["export", "m.keras", "-o", ".", "--force"], "the folder that the command runs in",
    ),
    "checkpoints beside somebody else's file": (
        [*TUNE, "-o", "kept.keras"], "'.kept.keras.state/mine.txt' lies where",
    ),
    "data among checkpoints": (
        [*TUNE, "-o", "held.keras"], "'.held.keras.state/mine.npz' lies where",
    ),
    "checkpoints behind a link": ([*TUNE, "-o", "linked.keras"], "is no folder; move it away"),
    "a plot in words": (
        ["verify", "m.keras", "taken.keras", "--layers", "--plot", "p.txt"], "must end in .png"
    ),
    "a name of 240 letters": ([*TUNE, "-o", "a" * 240 + ".keras"], "name is too long"),
    "code that ends the program": ([*TUNE, "--data", "ends.py:f"], "ends.py:2: SystemExit"),
    "a callback that fails": ([*TUNE, "--callbacks", "calls.py:C"], "calls.py:4: ZeroDivision"),
    "a rate that is no number": ([*TUNE, "--lr", "nan"], "--lr nan"),
    "a target without end": (
        ["prune", "m.keras", "-o", "o.keras", "--structure", "channels", "--target-macs", "inf"],
        "--target-macs inf",
    ),
    "a scale of many digits": ([*TUNE, "--scale", "1e999999999"], "--scale inf: "),
    "thousands of digits": ([*TUNE, "--batch-size", "9" * 5000], "--batch-size 9999"),
    "numbers for channels": ([*TUNE, "--mean", "1,2,3"], "--mean has 3 numbers"),
    "a seed beyond all": ([*TUNE, "--seed", "4294967296"], "--seed"),
    "a seed beyond all in a recipe": (
        ["compress", "seed.yaml", "-o", "out"], "seed.yaml:3: --seed 4294967296",
    ),
    "a recipe of depth": (["compress", "deep.yaml", "-o", "out"], "'deep.yaml' is not YAML: it is"),
    "half a character in a recipe": (
        ["compress", "half.yaml", "-o", "out"], "half.yaml:5: '\\ud800' is half a character",
    ),
    "a log over something else": (
        [*TUNE, "--log-csv", "r.yaml"], "'r.yaml' exists already and is no log of a training",
    ),
    "a log among checkpoints": (
        [*TUNE, "--log-csv", ".out.keras.state/log.csv"],
        "would replace each other",
    ),
    "a log in a device": ([*TUNE, "--log-csv", "/dev/full"], "'/dev/full' exists already"),
    "a name with a zero byte": ([*TUNE, "--data", "a\0b"], "a zero byte"),
    "names that are no text": (["inspect", "names.onnx"], "b'\\xff\\xfe' in it isn't UTF-8"),
    "no serial line": (["devices", "check", "mcu:/dev/null"], "'/dev/null' is no serial line"),
    "artifact as model": (["inspect", "m.tflite"], "does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_nothing_changes(
    name: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words, says = CASES[name]
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    with pytest.raises(SystemExit) as end:
        main(words)
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("edgepress: error: ")]
    assert (end.value.code, out, len(lines)) == (2, "", 1), err
    assert says in lines[0]
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before


def test_a_plan_is_shown_without_writing_anything(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["prune", "m.keras", "--structure", "channels", "--target-params", "0.6", "--json"]
    for more, key in ((["--dry-run"], '"cuts"'), (["--explain", "hidden"], '"passengers"')):
        main_exit(asked + more)
        assert key in capfd.readouterr().out
    assert not list(place.glob("out*"))


def main_exit(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
