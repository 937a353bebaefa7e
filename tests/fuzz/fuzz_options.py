"""Generators of command lines: values nobody should give, outputs that can't be written."""

from __future__ import annotations

from fuzz_case import OUTPUT, Case
from hypothesis import strategies as st

_TEXTS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1",
    "0.5",
    "1e400",
    "9" * 5000,
    "",
    " ",
    "a",
    "é",
    "\udcff",
    "1,2,3",
    "1/0",
    "1/3",
    "0x",
    "all",
    "none",
    "None",
    "*",
    "[",
    "m.keras",
    "/dev/null",
    ".",
    "a" * 240,
    "-",
    "=",
    "x=1",
    "1:2",
    "*=0.5",
    "local",
    "\x1b[0m",
    "[red]",
    "a\nb",
    "1e-320",
    "true",
    "2147483648",
    "99999999999",
)
# The given model in one precision, and no time for more.
_FIT = ("fit", "m.keras", "--data", "good.npz", "--minimise", "bytes", "--quantize", "float32",
        "--runs", "5", "--launches", "1", "--time", "1s")  # fmt: skip
_STARTS = {
    "finetune": ("m.keras", "--data", "good.npz", "-o", f"{OUTPUT}.keras", "--epochs", "1"),
    "prune": ("m.keras", "-o", f"{OUTPUT}.keras", "--sparsity", "0.5"),
    "lr-find": ("m.keras", "--data", "good.npz", "--steps", "10"),
    "doctor": ("g.keras", "--data", "grey.npz"),
    "advise": ("m.keras", "--data", "good.npz"),
    "verify": ("m.keras", "m.tflite"),
    "benchmark": ("m.tflite", "--runs", "5"),
    "compress": ("m.keras", "--data", "good.npz", "-o", OUTPUT, "--epochs", "0", "--runs", "5"),
    "inspect": ("m.keras",),
    "export": ("m.keras", "-o", OUTPUT, "--format", "tflite"),
    "report": ("run", "-o", f"{OUTPUT}.html"),
    "unfreeze-search": ("m.keras", "--data", "good.npz", "--epochs", "1"),
    "sensitivity": ("m.keras", "--data", "good.npz"),
    "strip": ("m.keras", "-o", f"{OUTPUT}.keras"),
    "devices": (),
    "schema": (),
    "search": ("s.yaml", "--trials", "1", "-o", OUTPUT),
    "fit": (*_FIT[1:], "-o", OUTPUT),
}
# Whole runs take a hundred times as long as the others.
_WHOLE = ("compress", "fit", "search")
_VERBS = (*sorted(_STARTS.keys() - set(_WHOLE)) * 8, *_WHOLE)
# Options that make a command slow, stop it from ending, or that name files to be written.
_LEFT_OUT = (
    "help",
    "debug",
    "help_all",
    "runs",
    "epochs",
    "max_seconds",
    "time",
    "seconds",
    "launches",
    "device_timeout",
    "trials",
    "workers",
    "output",
    "history",
    "junit",
    "github",
    "plot",
    "recover_epochs",
    "qat_epochs",
    "rounds",
    "steps",
    "log_csv",
    "log_tensorboard",
    "penalty_epochs",
    "clusters",
    "distribute",
    "recover_log_csv",
    "recover_log_tensorboard",
    "custom_objects",
    "cache_disk",
)


def _options(verb: str) -> list[tuple[str, bool]]:
    """Flags of a command, and whether they take a value."""
    from edgepress.deploy.cli.main import cli

    command = cli.get_command(None, verb)  # type: ignore[arg-type]
    assert command is not None
    known = [p for p in command.params if p.param_type_name == "option" and p.name not in _LEFT_OUT]
    return [(p.opts[-1], not getattr(p, "is_flag", False)) for p in known]


@st.composite
def option_cases(draw: st.DrawFn) -> Case:
    """Options with values that nobody should give."""
    verb = draw(st.sampled_from(_VERBS))
    words = [verb, *_STARTS[verb]]
    known = _options(verb)
    for _ in range(draw(st.integers(1, 2))):
        if known:
            flag, valued = draw(st.sampled_from(known))
            words += [f"{flag}={draw(st.sampled_from(_TEXTS))}"] if valued else [flag]
    if draw(st.integers(0, 9)) == 0:
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(_TEXTS))
    return Case("options", tuple(words))


_PLACES = (
    "out" + "a" * 240,
    "out" + "a" * 250 + ".keras",
    "out/" * 1500 + "x",
    "/dev/null",
    "/dev/full",
    "/proc/out",
    "m.keras",
    ".",
    "..",
    "",
    "/",
    "m.keras/out",
    "out\udcff",
    "out\nx",
    "out\x1b",
    "mine",
    "mine/out",
    "/dev/null/x",
    "link",
    "/sys/out",
    "out" + "é" * 120,
    "out.keras",
    "nowhere/out.keras",
)
_WRITERS = (
    ("finetune", "m.keras", "--data", "good.npz", "--epochs", "1", "-o"),
    ("prune", "m.keras", "--sparsity", "0.5", "-o"),
    ("strip", "m.keras", "-o"),
    ("export", "m.keras", "--format", "tflite", "-o"),
    ("report", "run", "-o"),
    ("compress", "m.keras", "--data", "good.npz", "--epochs", "0", "--runs", "5", "-o"),
    ("search", "s.yaml", "--trials", "1", "-o"),
    ("lr-find", "m.keras", "--data", "good.npz", "--steps", "10", "-o"),
    (*_FIT, "-o"),
    ("unfreeze-search", "m.keras", "--data", "good.npz", "--epochs", "1", "-o"),
    ("benchmark", "m.tflite", "--runs", "5", "-o"),
    ("benchmark", "m.tflite", "--runs", "5", "--junit"),
    ("benchmark", "m.tflite", "--runs", "5", "--github"),
    ("benchmark", "m.tflite", "--runs", "5", "--history"),
    ("verify", "m.keras", "m.tflite", "--layers", "--plot"),
    ("finetune", "m.keras", "--data", "good.npz", "--epochs", "1", "-o", "out.keras", "--log-csv"),
)


@st.composite
def output_cases(draw: st.DrawFn) -> Case:
    """Outputs that can't be written, for their name, their place or the system's limits."""
    quick = [writer for writer in _WRITERS if writer[0] not in _WHOLE]
    writer = draw(st.sampled_from([*quick * 8, *_WRITERS]))
    place, ending = (
        draw(st.sampled_from(_PLACES)),
        draw(st.sampled_from(["", "", ".keras", ".png"])),
    )
    limits: dict[str, int] = {}
    if draw(st.integers(0, 3)) == 0:
        place = "out"
        limits = draw(
            st.sampled_from(
                [{"file_bytes": 2000}, {"file_bytes": 9000}, {"open_files": 12}, {"open_files": 30}]
            )
        )
    # Of places outside the case's folder only those are named that take no files at all.
    force = draw(st.sampled_from([(), ("--force",)]))
    words = (*writer, place + ending, *force)
    name = place + ending
    # A training leaves its figures and curves beside the model.
    stem = name.removesuffix(".keras")
    beside = (f".{name}.state", f"{stem}.json", f"{stem}.png")
    if name.startswith("nowhere/"):
        beside = (*beside, "nowhere")
    own = () if name in ("", ".", "..", "mine", "m.keras") else (name, *beside)
    return Case("outputs", words, {"mine/keep.txt": b"mine"}, limits, own)
