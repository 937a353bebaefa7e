"""Converters in a subprocess, since their native code may crash.

Parent's side: `Worker.ask`. Child's side: `python -m edgepress.deploy.process.worker`, which reads
one JSON request a line from standard input and answers each with one JSON line on standard output.
What converters print goes to a log, which is kept and named when one of them dies.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from edgepress.compress.errors import DeviceError
from edgepress.compress.kernel import lean_keras
from edgepress.compress.processes.children import Child, Died, Late
from edgepress.compress.processes.garbage import unsearched
from edgepress.compress.processes.scratch import keep_text, scratch_folder
from edgepress.deploy.process.malloc import return_much

# Task → "module:function" that the child calls with the request and whose JSON-able result it
# sends back. Named by text, so that a child imports only what its task needs.
TASKS: dict[str, str] = {
    "tflite": "edgepress.deploy.exporters.tflite.conversion:convert",
    "onnx": "edgepress.deploy.exporters.onnx.conversion:convert",
    "onnx-quantize": "edgepress.deploy.exporters.onnx.quantization:quantize",
    "onnx-float16": "edgepress.deploy.exporters.onnx.quantization:to_float16",
    "tflite-weights": "edgepress.deploy.exporters.tflite.weights:quantize",
    "tflite-mixed": "edgepress.deploy.exporters.tflite.mixed:convert",
    "onnx-inspect": "edgepress.deploy.sources.formats.onnx_reading:inspect",
    "onnx-gather": "edgepress.deploy.sources.formats.onnx_reading:gathered",
    "onnx-tables": "edgepress.deploy.sources.fronts.tables:write",
    "savedmodel-inspect": "edgepress.deploy.sources.formats.savedmodel_graph:inspect",
    "savedmodel-trace": "edgepress.deploy.sources.formats.savedmodel_graph:trace",
}

# Those that are carried out by TensorFlow.
_BY_TENSORFLOW = {"tflite", "tflite-mixed", "onnx", "savedmodel-inspect", "savedmodel-trace"}


class Refused(DeviceError):
    """The converter ran and said no: the model or the option is at fault, not the machine."""


class Worker:
    """A child process that carries out conversions one after the other.

    It is started with the first request and again after a crash, so one lost conversion doesn't
    lose the others, and the seconds that TensorFlow takes to load are paid once.

    Args:
        timeout: Seconds that one request may take.
        memory_bytes: Bound on the child's private memory; the machine's memory by default.

    Attributes:
        kept_log: What the last converter that died said; None where none did.
    """

    def __init__(self, timeout: float = 900.0, memory_bytes: int | None = None) -> None:
        self.timeout = timeout
        self.memory_bytes = memory_bytes or machine_memory()
        self._child: Child | None = None
        self.kept_log: Path | None = None
        self._held = ExitStack()
        folder = self._held.enter_context(scratch_folder())
        self._log = self._held.enter_context((folder / "log").open("w+", errors="replace"))

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child and take its log away."""
        self._stop()
        self._held.close()

    def ask(self, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Have one task carried out.

        Args:
            task: A key of `TASKS`.
            request: What the task's function takes; JSON-able.

        Returns:
            What the task's function returns.

        Raises:
            Refused: The task's function raised.
            DeviceError: The child crashed, or took longer or more memory than it may.
        """
        begin = self._log.seek(0, os.SEEK_END)
        try:
            reply = self._running().ask(json.dumps({"do": task, **request}), self.timeout)
        except Late:
            self._stop()
            raise DeviceError(
                f"the {task} conversion took longer than {self.timeout:g} s and was stopped",
                self._kept(begin),
            ) from None
        except Died as error:
            raise DeviceError(f"the {task} converter {error.message}", self._kept(begin)) from None
        answer: dict[str, Any] = json.loads(reply)
        if not answer.pop("ok"):
            raise Refused(answer["error"])
        return answer

    def begin(self, task: str) -> None:
        """Have the child load what a task needs, while this process does what comes before.

        Args:
            task: A key of `TASKS`.
        """
        self._running(task)

    def _running(self, *tasks: str) -> Child:
        """The child; a new one loads what tasks need before it is asked."""
        if self._child is None or not self._child.running:
            self._stop()
            # -P: files in the working folder must not stand in for packages.
            command = [sys.executable, "-P", "-m", __name__, str(self.memory_bytes), *tasks]
            self._child = Child(command, self._log, {"CUDA_VISIBLE_DEVICES": ""})
        return self._child

    def _kept(self, begin: int) -> str:
        """What a converter that didn't answer wrote, put where it stays; a hint that names it."""
        self._log.seek(begin)
        self.kept_log = keep_text(self._log.read(), "edgepress-converter-")
        return f"log: {self.kept_log}"

    def _stop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def task_function(task: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The function that carries out a task."""
    module, _, name = TASKS[task].partition(":")
    found: Callable[[Mapping[str, Any]], dict[str, Any]] = getattr(import_module(module), name)
    return found


@cache
def _ready(task: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The function that carries out a task, with the frameworks that it needs loaded.

    Nothing of what is loaded is garbage, so nobody looks for it: not meanwhile, and not later.
    """
    gc.collect()  # What an earlier task left would be kept for good.
    with unsearched():
        if task in _BY_TENSORFLOW:
            lean_keras.load()
        found = task_function(task)
    gc.freeze()
    return found


def one_line(error: BaseException) -> str:
    """An exception as one line of readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 400 else text[:397] + "…"


def _explained(error: BaseException, task: str) -> str:
    """What a converter's exception means, in one line."""
    from edgepress.deploy.process.converter_errors import explain

    if isinstance(error, MemoryError):
        return f"the {task} conversion needs more memory than it may take"
    return explain(str(error), task) or one_line(error)


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    limit = int(sys.argv[1])
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for task in sys.argv[2:]:
        with contextlib.suppress(Exception):  # it is told when the task is asked for
            _ready(task)
    for line in sys.stdin:
        request = json.loads(line)
        task = request.pop("do")
        try:
            reply = {"ok": True, **_ready(task)(request)}
        except Exception as error:
            import traceback

            traceback.print_exc()
            reply = {"ok": False, "error": _explained(error, task)}
        return_much()
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
