"""Write docs/exports.md: every format and precision of many models, verified or with its reason.

    python scripts/export_table.py [FOLDER…] [--applications] --state STATE -o docs/exports.md

FOLDER holds Keras models (.keras, .h5, .hdf5, SavedModel folders). `--applications` adds the
networks of `keras.applications` at a small input, with random weights and the batch statistics of
one batch. Files are compared with their sources on made-up inputs, which calibrate the integer
ones too. Models that STATE knows are not measured again, so the work can be stopped and taken up
(`--minutes`). `--known docs/exports.md` begins with what a page says, and with
`--cells "tflite dynamic"` these cells alone are measured again, of all models or of those that
`--only` names.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from edgepress.benchmarks.runtimes.micro_runtime import has_micro
from edgepress.compress.errors import EdgepressError
from edgepress.compress.kernel.files import atomic_output, write_json
from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.exporting.export import export
from edgepress.deploy.exporting.result import ExportResult
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.versions import versions

SAMPLES = 256
ENDINGS = (".keras", ".h5", ".hdf5")
LARGER_INPUTS = {"Xception": 75, "InceptionV3": 75, "InceptionResNetV2": 75, "NASNet": 64}
SIDE = 48
# Above this size a network is compared on fewer samples: int16x8 runs on reference kernels.
LARGE_PARAMS = 12_000_000
LARGE_SAMPLES = 32

# Marks C files that were made where TensorFlow Lite Micro wasn't installed.
LITERT_ALONE = "litert_alone"

Cell = tuple[str, str]


@dataclass(frozen=True)
class Candidate:
    """A model that may go into the table: its name, its group and what builds it."""

    name: str
    group: str
    build: Callable[[], Any]


def files(folder: Path) -> Iterator[Candidate]:
    """The models under a folder."""
    from edgepress.compress.models import load

    for path in sorted(folder.rglob("*")):
        is_saved_model = (path / "saved_model.pb").exists()
        if path.suffix in ENDINGS or is_saved_model:
            name = f"{path.name}/" if is_saved_model else path.name
            yield Candidate(name, f"{folder.name}", lambda path=path: load(path))


def applications() -> Iterator[Candidate]:
    """The networks of `keras.applications`."""
    import keras

    for name in sorted(n for n in dir(keras.applications) if n[0].isupper()):
        yield Candidate(name, "keras.applications", lambda name=name: application(name))


def application(name: str) -> Any:
    """A network of `keras.applications` whose signals neither fade nor grow, its last softmax off.

    A softmax over random weights gives nothing but zeros and ones, in which no difference shows.
    """
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    side = next((s for begin, s in LARGER_INPUTS.items() if name.startswith(begin)), SIDE)
    build = getattr(keras.applications, name)
    options = {"classes": 10, "classifier_activation": None}
    model = build(weights=None, input_shape=(side, side, 3), **options)
    settle(model)
    return model


def settle(model: Any) -> None:
    """Give batch normalisations the statistics of one batch and an offset, and branches a weight.

    Without the offset random weights double every small difference from layer to layer, as
    training would not: the last bit of a float32 grows to a third of EfficientNetV2M's output.
    ConvNeXt begins with branches that count a millionth: nothing that goes wrong in them shows.
    """
    import keras

    from edgepress.deploy.sources.sample_inputs import plausible_inputs

    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(keras.ops.full(layer.gamma.shape, 0.25))
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.center:
            norm.beta.assign(keras.ops.full(norm.beta.shape, 0.5))
    model(next(iter(plausible_inputs(model, 16).values())), training=True)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def own_data(model: Any, samples: int) -> dict[str, Any]:
    """Made-up inputs with what the model says of them."""
    from edgepress.compress.data.tasks import output_names
    from edgepress.deploy.sources.keras_outputs import run_source
    from edgepress.deploy.sources.sample_inputs import plausible_inputs

    inputs = plausible_inputs(model, samples)
    outputs = run_source(model, iter([inputs]), batch_size=32)
    x = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    y = dict(zip(output_names(model), outputs, strict=True)) if len(outputs) > 1 else outputs[0]
    return {"train": (x, y), "val": (x, y)}


def measure(candidate: Candidate, worker: Worker, cells: Sequence[Cell] = ()) -> dict[str, Any]:
    """The outcome of one model, as JSON-able values; of these cells alone, or of all."""
    try:
        model = candidate.build()
        samples = LARGE_SAMPLES if model.count_params() > LARGE_PARAMS else SAMPLES
        data, found = own_data(model, samples), {}
        for format in dict.fromkeys(name for name, _ in cells):
            precisions = tuple(precision for name, precision in cells if name == format)
            result = _exported(model, data, samples, worker, (format,), precisions)
            found |= _outcomes(result)
        return found if cells else _outcomes(_exported(model, data, samples, worker))
    except EdgepressError as error:
        return {"refused": error.message}


def _exported(
    model: Any,
    data: Any,
    samples: int,
    worker: Worker,
    formats: Sequence[str] = tuple(EXPORTERS),
    precisions: Sequence[str] = tuple(PRECISIONS),
) -> ExportResult:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        return export(
            model, out, formats, precisions, data, calibration_samples=samples, worker=worker
        )


def _outcomes(result: ExportResult) -> dict[str, dict[str, Any]]:
    """What each combination came to: an error, a failure or a reason."""
    found: dict[str, dict[str, Any]] = {}
    for artifact in result:
        error = artifact.verified.max_abs_error if artifact.verified else 0.0
        alone = artifact.format == "c" and not has_micro()
        outcome = {"error": error, LITERT_ALONE: True} if alone else {"error": error}
        found[_key((artifact.format, artifact.quantize))] = outcome
    for failed in result.failed:
        found[_key((failed.format, failed.quantize))] = {"failed": failed.reason}
    for skipped in result.skipped:
        found[_key((skipped.format, skipped.quantize))] = {"missing": skipped.reason}
    return found


def _key(cell: Cell) -> str:
    return " ".join(cell)


def columns() -> list[Cell]:
    """Formats and precisions that exist at all."""
    return [(f, p) for f, e in EXPORTERS.items() for p in PRECISIONS if p in e.precisions]


def shown(outcome: dict[str, Any]) -> str:
    """One cell.

    >>> shown({"error": 3.21e-7}), shown({"missing": "no operator"}), shown({"failed": "noise"})
    ('3e-07', '–', 'withheld')
    """
    if "error" in outcome:
        return f"{outcome['error']:.0e}".replace("0e+00", "0")
    return "withheld" if "failed" in outcome else "–"


def told(reason: str) -> str:
    """A reason without the folders of the machine that it was met on.

    >>> told("'/home/me/old.h5' holds no model, 1/2 of it")
    "'old.h5' holds no model, 1/2 of it"
    """
    return re.sub(r"(?<![\w.])/(?:[^\s/:']+/)+", "", reason)


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The Markdown table of one group and the reasons under it."""
    cells = columns()
    lines = [
        "| model | " + " | ".join(_key(c) for c in cells) + " |",
        "| --- |" + " --- |" * len(cells),
    ]
    reasons: dict[str, dict[str, list[str]]] = {}
    for name, result in results.items():
        if "refused" in result:
            reasons.setdefault(f"not loaded: {told(result['refused'])}", {})[name] = []
            continue
        row = [result[_key(c)] for c in cells]
        lines.append(f"| `{name}` | " + " | ".join(shown(o) for o in row) + " |")
        for cell, outcome in zip(cells, row, strict=True):
            reason = outcome.get("missing") or outcome.get("failed")
            if reason:
                reasons.setdefault(told(reason), {}).setdefault(name, []).append(_key(cell))
    listed = [
        f"- {reason}: " + ", ".join(f"`{n}`{_listed(where)}" for n, where in places.items())
        for reason, places in reasons.items()
    ]
    return [*lines, "", "Why some are missing:", "", *listed] if listed else lines


def _listed(cells: Sequence[str]) -> str:
    return f" ({', '.join(cells)})" if cells else ""


def counted(groups: dict[str, dict[str, dict[str, Any]]]) -> str:
    """How many cells came to what."""
    cells = [
        outcome for results in groups.values() for result in results.values()
        if "refused" not in result for outcome in (result[_key(c)] for c in columns())
    ]  # fmt: skip
    refused = sum("refused" in r for results in groups.values() for r in results.values())
    models = sum(map(len, groups.values())) - refused
    return (
        f"{models} models and {len(cells)} cells:"
        f" {sum('error' in c for c in cells)} files verified,"
        f" {sum('failed' in c for c in cells)} withheld by their verification,"
        f" {sum('missing' in c for c in cells)} that don't exist. {refused} models could not be"
        " loaded."
    )


def micro_trials(groups: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Which C files ran in TensorFlow Lite Micro, too."""
    alone = [
        f"`{name}`"
        for results in groups.values()
        for name, result in results.items()
        if any(isinstance(o, dict) and LITERT_ALONE in o for o in result.values())
    ]
    told = "C files also ran in TensorFlow Lite Micro and gave what LiteRT gave"
    return (
        f"{told}, but for those of {', '.join(alone)}, tried in LiteRT alone."
        if alone
        else f"{told}."
    )


def _place(state: Path, group: str, name: str) -> Path:
    return state / f"{group}__{name.rstrip('/')}.json"


def page(groups: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The whole document."""
    made_by = ", ".join(f"{k} {v}" for k, v in versions().items())
    lines = [
        "# Which files come out of which model",
        "",
        "Made by `scripts/export_table.py`. A number is the largest difference between the file's",
        f"outputs and the Keras model's on {SAMPLES} made-up inputs ({LARGE_SAMPLES} for networks",
        f"of more than {LARGE_PARAMS:,} parameters); such a file passed its",
        "verification. `withheld` is a file that differs from its source and was not published, a",
        "dash one that doesn't exist; the reasons are below each table. Weights of the networks of",
        "`keras.applications` are random, their batch normalisations those of one batch, the",
        "branches of ConvNeXt weighed by a quarter.",
        "",
        micro_trials(groups),
        "",
        counted(groups),
        "",
        f"Versions: {made_by}.",
    ]
    for name, results in groups.items():
        lines += ["", f"## {name}", "", *table(results)]
    return "\n".join([*lines, ""])


def known_of(text: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What a page says: outcomes by group and model.

    >>> page = "## g\\n| model | c int8 |\\n| --- | --- |\\n| `m` | – |"
    >>> known_of(f"{page}\\n\\n- no: way: `m` (c int8)")
    {'g': {'m': {'c int8': {'missing': 'no: way'}}}}
    """
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        results = groups.setdefault(lines[0].strip(), {})
        rows = [[c.strip() for c in x.split(" | ")] for x in lines if x.startswith("| ")]
        names = [cell.strip("| ") for cell in rows[0][1:]]
        for row in rows[2:]:
            values = [cell.strip("| ") for cell in row[1:]]
            results[row[0].strip("| `")] = {
                name: {"error": float(value)} if value[0].isdigit() else {value: ""}
                for name, value in zip(names, values, strict=True)
            }
        for line in (x for x in lines if x.startswith("- ")):
            _fill_reason(results, line)
    return groups


def _fill_reason(results: dict[str, dict[str, Any]], line: str) -> None:
    """Give cells the reason of a line below a table."""
    reason, _, places = line[2:].partition(": `")
    for name, cells in re.findall(r"`([^`]+)`(?: \(([^)]*)\))?", f"`{places}"):
        if not cells:
            results[name] = {"refused": reason.removeprefix("not loaded: ")}
        for cell in filter(None, cells.split(", ")):
            kind = "failed" if "withheld" in results[name][cell] else "missing"
            results[name][cell] = {kind: reason}


def main() -> None:
    """Read the arguments, measure what isn't known yet, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--applications", action="store_true")
    parser.add_argument("--state", type=Path, required=True, help="folder of what was measured")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no model later")
    parser.add_argument("--only", nargs="*", default=[], help="measure these models again")
    parser.add_argument("--known", type=Path, help="a page whose figures STATE begins with")
    parser.add_argument("--cells", nargs="*", default=[], help='measure these again ("c int8")')
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    cells = [cell for cell in columns() if _key(cell) in options.cells]
    if options.known:
        for group, results in known_of(options.known.read_text("utf-8")).items():
            for name, result in results.items():
                write_json(_place(options.state, group, name), result)
    candidates = [c for folder in options.folders for c in files(folder)]
    candidates += list(applications()) if options.applications else []
    begin = time.monotonic()
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    with Worker() as worker:
        for candidate in candidates:
            known = _place(options.state, candidate.group, candidate.name)
            late = time.monotonic() - begin > 60 * options.minutes
            again = candidate.name in options.only or (cells and not options.only and not late)
            if again or not (known.exists() or late):
                before = json.loads(known.read_text("utf-8")) if cells and known.exists() else {}
                found = measure(candidate, worker, cells if before else ())
                write_json(known, found if "refused" in found else {**before, **found})
                print(f"{time.monotonic() - begin:6.0f} s  {candidate.name}", flush=True)
            if known.exists():
                results = groups.setdefault(candidate.group, {})
                results[candidate.name] = json.loads(known.read_text("utf-8"))
    with atomic_output(options.output, force=True) as temporary:
        temporary.write_text(page(groups), "utf-8")


if __name__ == "__main__":
    main()
