"""What goes to the process of a tool and what comes back; needs nothing but Python and NumPy."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Training images from which every tool takes its ranges: the same ones in the same order.
CALIBRATION = 256


@dataclass(frozen=True)
class Job:
    """What a tool is asked to do.

    Attributes:
        task: "channels", "zeros", "train", "int8" and so on.
        network: Folder with `graph.json` and `weights.npz`, and `model.keras`.
        data: File of images.
        out: Folder for files that the task makes.
        options: Of the task.
    """

    task: str
    network: Path
    data: Path
    out: Path
    options: Mapping[str, Any]


def serve(tasks: Mapping[str, Callable[[Job], dict[str, Any]]]) -> None:
    """Do the job of the file that the command line names; the answer goes beside its files.

    The answer is what the task returned, with `seconds` by the clock, `processor` seconds of all
    threads and children, and `memory`: the process's peak in MiB.
    """
    path = Path(sys.argv[1])
    given = json.loads(path.read_text())
    out = Path(given["out"])
    job = Job(given["task"], Path(given["network"]), Path(given["data"]), out, given["options"])
    began = time.perf_counter()
    answer = tasks[job.task](job)
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    spent = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak = max(own.ru_maxrss, children.ru_maxrss) / 1024
    answer |= {"seconds": time.perf_counter() - began, "processor": spent, "memory": peak}
    (out / "answer.json").write_text(json.dumps(answer))


def singles(data: Path) -> Iterator[Any]:
    """The images for calibration, one by one: (1, 32, 32, 3) float32, 0 to 255."""
    with np.load(data) as file:
        x = file["x_train"][:CALIBRATION].astype(np.float32)
    return (x[i : i + 1] for i in range(len(x)))
