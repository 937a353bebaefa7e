"""edgepress: prunes, and trains what any tool has cut."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from edgepress import compress  # isort: skip  # chooses the kernels before TensorFlow loads
from edgepress.benchmarks.studies.peers.exchange import cut, write_graph
from edgepress.benchmarks.studies.peers.networks import RECIPE
from edgepress.benchmarks.studies.peers.sides.job import CALIBRATION, Job, serve

# Outputs of the same network in two frameworks: float32 in another order.
CLOSE = 2e-5


def _whole(job: Job) -> Any:
    return compress.load(next(job.network.glob("model.*")))


def _data(job: Job, model: Any) -> Any:
    """Images with flips and crops, of which the options may name fewer to train on."""
    from edgepress.compress.data import open_data
    from edgepress.compress.specs.recipe import DataSpec

    spec = DataSpec(spec=str(_part(job)), augment=("flip", "crop:4"), validation_split=0.05)
    return open_data(spec, model, int(job.options.get("seed", 0)))


def _part(job: Job) -> Path:
    """The file of images, or one with the first of them alone."""
    images, judged = job.options.get("images"), job.options.get("judged")
    if not images and not judged:
        return job.data
    kept = job.out / "images.npz"
    with np.load(job.data) as file:
        counts = {"train": images, "test": judged}
        np.savez(kept, **{name: file[name][: counts[name[2:]]] for name in file.files})
    return kept


def _figures(model: Any, data: Any) -> dict[str, float]:
    from edgepress.compress.cost import model_cost
    from edgepress.compress.data import evaluate

    value = evaluate(model, data.report_split, data.task)
    return {"accuracy": value, "macs": model_cost(model).macs, "params": model.count_params()}


def graph(job: Job) -> dict[str, Any]:
    """The uncut network in numbers, and as data for the other tools."""
    model = _whole(job)
    write_graph(model, job.network)
    return _figures(model, _data(job, model))


def channels(job: Job) -> dict[str, Any]:
    """The network with channels removed: by edgepress, or those that another tool keeps."""
    model = _whole(job)
    data = _data(job, model)
    names = ("criterion", "repair", "round_to", "min_share", "calibration_samples")
    settings = {name: job.options[name] for name in names if name in job.options}
    if "kept" in job.options:
        answer = Path(job.options["kept"])
        small = cut(model, json.loads((answer / "answer.json").read_text())["kept"])
        with np.load(answer / "outputs.npz") as file:
            gap = float(np.abs(small.predict(file["x"], verbose=0) - file["y"]).max())
        assert gap < CLOSE, f"{answer}: outputs differ by {gap:.1e}"
    else:
        result = compress.prune(
            model,
            data,
            structure="channels",
            target_macs=job.options["share"],
            seed=int(job.options.get("seed", 0)),
            **settings,
        )
        small, gap = result.model, 0.0
    compress.save(small, job.out / "model.keras", force=True)
    widths = [w.shape[-1] for w in small.weights if w.name == "kernel"]
    return _figures(small, data) | {"gap": gap, "widths": widths}


def train(job: Job) -> dict[str, Any]:
    """A cut network after epochs of distillation from the uncut one: the same for every tool."""
    from edgepress.compress.specs.recipe import TrainSpec
    from edgepress.compress.training import fit

    teacher, model = _whole(job), compress.load(Path(job.options["model"]) / "model.keras")
    data, seed = _data(job, model), int(job.options.get("seed", 0))
    spec = TrainSpec(epochs=int(job.options["epochs"]), restore_best=False, **RECIPE)
    distil = job.options.get("distil", True)
    fit(
        model,
        data,
        spec,
        seed=seed,
        teacher=teacher if distil else None,
        state_dir=job.out / "state",
    )
    compress.save(model, job.out / "model.keras", force=True)
    return _figures(model, data)


def zeros(job: Job) -> dict[str, Any]:
    """The network with zeros, made while it trains."""
    model, wanted = _whole(job), job.options["sparsity"]
    data, epochs = _data(job, model), int(job.options["epochs"])
    kind: dict[str, Any] = {"structure": "weights", "sparsity": wanted}
    if wanted == "2:4":
        kind = {"structure": "nm", "pattern": wanted}
    result = compress.prune(
        model,
        data,
        seed=int(job.options["seed"]),
        recover_epochs=epochs,
        schedule="polynomial" if epochs else "one-shot",
        distill=bool(job.options["distil"] and epochs),
        **kind,
    )
    compress.save(result.model, job.out / "model.keras", force=True)
    return _figures(result.model, data) | {"zeros": _zeros(result.model)}


def judge(job: Job) -> dict[str, Any]:
    """What another tool made: weights for the network, or an ONNX file."""
    made = Path(job.options["made"])
    if (made / "model.onnx").is_file():
        return _judged_file(job, made / "model.onnx")
    model = _whole(job)
    with np.load(made / "weights.npz") as file:
        for layer in model.layers:
            for weight in layer.weights:
                weight.assign(file[f"{layer.name}/{weight.name}"])
    compress.save(model, job.out / "model.keras", force=True)
    return _figures(model, _data(job, model)) | {"zeros": _zeros(model)}


def _judged_file(job: Job, path: Path) -> dict[str, Any]:
    """Accuracy of an ONNX file, and the share of zeros in its weights of two dimensions or more.

    Weights that no node reads don't count: onnxsim leaves the whole ones beside those it pruned.
    """
    import onnx

    graph = onnx.load(path).graph
    read = {name for node in graph.node for name in node.input}
    arrays = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name in read]
    kernels = [a for a in arrays if a.ndim > 1 and a.dtype.kind == "f"]
    share = sum(int((k == 0).sum()) for k in kernels) / sum(k.size for k in kernels)
    count = int(job.options["judged"])
    return {"accuracy": _accuracy(path, job, count), "zeros": share}


def _accuracy(path: Path, job: Job, count: int) -> float:
    """Share of the first test images that a file answers rightly."""
    from edgepress.benchmarks.runtimes.runtime import Runtime

    with np.load(job.data) as file:
        x, y = file["x_test"][:count].astype(np.float32), file["y_test"][:count]
    with Runtime(path) as runtime:
        inputs, _ = runtime.tensors()
        scores = next(iter(runtime.predict({inputs[0].name: x}).values()))
    return float(np.mean(scores.argmax(-1) == y))


def _zeros(model: Any) -> float:
    """Share of zeros in the kernels, depthwise ones left out."""
    kernels = [
        layer.kernel.numpy() for layer in model.layers
        if hasattr(layer, "kernel") and type(layer).__name__ != "DepthwiseConv2D"
    ]  # fmt: skip
    return sum(int((k == 0).sum()) for k in kernels) / sum(k.size for k in kernels)


def export(job: Job) -> dict[str, Any]:
    """One file, verified, of the network or of what a cell made of it."""
    from edgepress import deploy

    source = Path(job.options["model"]) if "model" in job.options else job.network
    model = compress.load(next(source.glob("model.*")))
    with np.load(job.data) as file:
        x, y = file["x_train"][:CALIBRATION], file["y_train"][:CALIBRATION]
    kind, precision = job.options["format"], job.options["precision"]
    made = deploy.export(
        model, job.out / "files", [kind], [precision], {"train": (x, y), "val": (x, y)},
        calibration_samples=CALIBRATION, force=True,
    )  # fmt: skip
    if not made.artifacts:
        reasons = [f.reason for f in made.failed] + [s.reason for s in made.skipped]
        raise SystemExit("withheld: " + "; ".join(reasons))
    path = Path(made[0].path)
    path.rename(job.out / f"model{path.suffix}")
    return {"file": f"model{path.suffix}"}


def measure(job: Job) -> dict[str, Any]:
    """Accuracy and bytes of files, and their latencies in turns, one thread each."""
    from edgepress import deploy

    folders = {name: Path(path) for name, path in job.options["of"].items()}
    paths = {n: f / json.loads((f / "answer.json").read_text())["file"] for n, f in folders.items()}
    found: dict[str, Any] = {}
    for name, path in paths.items():
        content = path.read_bytes()
        found[name] = {
            "accuracy": _accuracy(path, job, int(job.options["files"])),
            "bytes": len(content),
            "gzip": len(gzip.compress(content, 9)),
        }
    rows = deploy.benchmark(list(paths.values()), names=list(paths), runs=job.options["rounds"])
    for row in rows.devices[0].measurements:
        found[row.label]["ms"] = float(np.median(row.series.values)) / 1e6
    return {"files": found}


TASKS = {
    "graph": graph, "channels": channels, "train": train, "zeros": zeros, "judge": judge,
    "export": export, "measure": measure,
}  # fmt: skip

if __name__ == "__main__":
    serve(TASKS)
