"""Converters at arm's length: native code that may crash runs in a child process.

Parent's side: `Worker.ask`. Child's side: `python -m edgepress.deploy.process.worker`, which reads
one JSON request a line from standard input and answers each with one JSON line on standard output.
What converters print goes to a log, whose path is named when something fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from edgepress.benchmarks.runtimes.runtime import died
from edgepress.compress.errors import DeviceError
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
    "savedmodel-inspect": "edgepress.deploy.sources.formats.savedmodel_graph:inspect",
    "savedmodel-trace": "edgepress.deploy.sources.formats.savedmodel_graph:trace",
}


class Refused(DeviceError):
    """The converter ran and said no: the model or the option is at fault, not the machine."""


class Worker:
    """A child process that carries out conversions one after the other.

    It is started with the first request and again after a crash, so one lost conversion doesn't
    lose the others, and the seconds that TensorFlow takes to load are paid once.

    Args:
        timeout: Seconds that one request may take.
        memory_bytes: Bound on the child's private memory; the machine's memory by default.
    """

    def __init__(self, timeout: float = 900.0, memory_bytes: int | None = None) -> None:
        self.timeout = timeout
        self.memory_bytes = memory_bytes or machine_memory()
        self._process: subprocess.Popen[str] | None = None
        handle, name = tempfile.mkstemp(prefix="edgepress-converter-", suffix=".log")
        self._log = os.fdopen(handle, "w+", errors="replace")
        self.log_path = Path(name)
        self._keep_log = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._log.close()
        if not self._keep_log:
            self.log_path.unlink(missing_ok=True)

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
        process = self._running()
        begin = self._log.seek(0, os.SEEK_END)
        reply = self._exchange(process, json.dumps({"do": task, **request}))
        if reply is None:
            self._stop()
            self._keep_log = True
            raise DeviceError(
                f"the {task} conversion took longer than {self.timeout:g} s and was stopped",
                f"log: {self.log_path}",
            )
        if not reply:
            why = died(process.wait(), self._said_since(begin))
            self._keep_log = True
            raise DeviceError(f"the {task} converter {why}", f"log: {self.log_path}")
        answer: dict[str, Any] = json.loads(reply)
        if not answer.pop("ok"):
            self._keep_log = True
            raise Refused(answer["error"], f"log: {self.log_path}")
        return answer

    @property
    def kept_log(self) -> Path | None:
        """The log, where it will be kept because a task failed."""
        return self.log_path if self._keep_log else None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                # -P: files in the working folder must not stand in for packages.
                [sys.executable, "-P", "-m", __name__, str(self.memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                # Converters go through sets of names: in the same order each time.
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"},
            )
        return self._process

    def _exchange(self, process: subprocess.Popen[str], line: str) -> str | None:
        """Send a line, wait for one; "" if the child died, None if it was too slow."""
        assert process.stdin
        assert process.stdout
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self.timeout, end)
        timer.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        finally:
            timer.cancel()
        return None if late.is_set() and not reply else reply

    def _said_since(self, begin: int) -> str:
        self._log.seek(begin)
        return self._log.read()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextlib.contextmanager
def working(worker: Worker | None, timeout: float = 900.0) -> Iterator[Worker]:
    """The given worker, left running, or a new one for this block."""
    if worker is not None:
        yield worker
        return
    with Worker(timeout) as own:
        yield own


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def task_function(task: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The function that carries out a task."""
    module, _, name = TASKS[task].partition(":")
    found: Callable[[Mapping[str, Any]], dict[str, Any]] = getattr(import_module(module), name)
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
    for line in sys.stdin:
        request = json.loads(line)
        task = request.pop("do")
        try:
            reply = {"ok": True, **task_function(task)(request)}
        except Exception as error:
            import traceback

            traceback.print_exc()
            reply = {"ok": False, "error": _explained(error, task)}
        return_much()
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
