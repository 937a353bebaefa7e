"""Torch-Pruning: which channels it keeps of a network, at a share of the MACs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch_pruning

from edgepress.benchmarks.studies.peers.sides.job import Job, serve
from edgepress.benchmarks.studies.peers.sides.torch_graph import Graph

Kept = dict[str, list[int]]
_SAMPLES, _BATCH, _LOOKS = 1024, 64, 14


def _importance(method: str) -> Any:
    importance = torch_pruning.importance
    if method == "taylor":
        return importance.GroupTaylorImportance()
    return importance.GroupMagnitudeImportance(p={"l1": 1, "group-norm": 2}[method])


def _images(job: Job, count: int) -> tuple[Any, Any]:
    seed = int(job.options.get("seed", 0))
    with np.load(job.data) as file:
        chosen = np.random.default_rng(seed).permutation(len(file["y_train"]))[:count]
        x = file["x_train"][chosen].astype(np.float32)
        return torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(file["y_train"][chosen])


def _pruned(whole: Graph, job: Job, ratio: float, x: Any) -> tuple[Graph, Kept]:
    """A smaller copy, and for each layer with a kernel the output channels that stayed."""
    model = copy.deepcopy(whole)
    pruner = torch_pruning.pruner.BasePruner(
        model,
        x[:1],
        importance=_importance(job.options["method"]),
        pruning_ratio=ratio,
        global_pruning=True,
        round_to=job.options.get("round_to"),
        ignored_layers=[model.part(model.nodes[-1]["name"])],
    )
    for parameter, first in zip(model.parameters(), whole.parameters(), strict=True):
        parameter.grad = None if first.grad is None else first.grad.clone()
    kept = {name: set(range(count)) for name, count in whole.made_by().items()}
    names = {id(model.part(name)): name for name in kept}
    for group in pruner.step(interactive=True):
        for dependency, places in group:
            name = names.get(id(dependency.target.module))
            if name and pruner.DG.is_out_channel_pruning_fn(dependency.handler):
                kept[name] -= {int(i) for i in places}
        group.prune()
    return model, {name: sorted(left) for name, left in kept.items()}


def channels(job: Job) -> dict[str, Any]:
    """Channels that stay: the largest network within the budget that some ratio gives."""
    whole = Graph(job.network).eval()
    x, y = _images(job, _SAMPLES)
    if job.options["method"] == "taylor":
        for start in range(0, len(x), _BATCH):
            here = slice(start, start + _BATCH)
            torch.nn.functional.cross_entropy(whole(x[here]), y[here]).backward()
    limit = whole.macs() * float(job.options["share"])
    low, high, found = 0.0, 1.0, None
    for _ in range(_LOOKS):
        ratio = (low + high) / 2
        small, kept = _pruned(whole, job, ratio, x)
        if small.macs() <= limit:
            found, high = (small, kept), ratio
        else:
            low = ratio
    assert found is not None
    small, kept = found
    with torch.no_grad():
        outputs = small.eval()(x[:64]).softmax(1).numpy()
    np.savez(job.out / "outputs.npz", x=x[:64].numpy().transpose(0, 2, 3, 1), y=outputs)
    return {"kept": kept, "macs": small.macs() / whole.macs()}


if __name__ == "__main__":
    serve({"channels": channels})
