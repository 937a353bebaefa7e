"""An artifact on an Android device: every job is a run of `benchmark_model`.

Source: flags and output of tensorflow/lite/tools/benchmark (README.md, benchmark_model.cc) and of
its external delegate (tensorflow/lite/tools/delegates).
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepress.benchmarks.measurement import Samples, SessionFacts
from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.operators.profile import profile_of_table
from edgepress.benchmarks.runtimes.raw_runtime import RawRuntime
from edgepress.benchmarks.session import runtime_with
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.benchmarks.tflite.arena import plan_arena
from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.compress.errors import DeviceError
from edgepress.compress.processes.children import died
from edgepress.deploy.targets.android.battery import READ_BATTERY, energy_between, take_readings
from edgepress.deploy.targets.android.benchmark_model import Report, outputs_of, parse_report
from edgepress.deploy.targets.native_runner import LIBRARY


@dataclass(frozen=True)
class Phone:
    """What a session needs of its device.

    Attributes:
        name: How the user calls it.
        folder: Our folder there; benchmark_model is in it.
        cores: CPU mask in hexadecimal from its address, or "".
        gives_outputs: Whether the runner in C is in the folder too.
        push: Sends a file under a name into the folder; gives its path there.
        pull: Gets a file from there.
        shell: Runs a command there; exit code, standard output, standard error.
    """

    name: str
    folder: str
    cores: str
    gives_outputs: bool
    push: Callable[[Path, str], str]
    pull: Callable[[str, Path], None]
    shell: Callable[[str, float], tuple[int, str, str]]


class AndroidSession:
    """An artifact on an Android device."""

    def __init__(self, phone: Phone, path: Path, options: RunOptions) -> None:
        self.phone, self.path, self.options = phone, path, options
        self._remote = ""
        self._last: Report | None = None
        self._notes: dict[str, None] = {}

    def __enter__(self) -> AndroidSession:
        self._remote = self.phone.push(self.path, f"{uuid.uuid4().hex[:6]}.tflite")
        return self

    def __exit__(self, *error: object) -> None:
        self.phone.shell(f"rm -f {self._remote}", 60.0)

    def run(self, job: Job) -> Samples:
        """Run benchmark_model once; it tells the mean of the job, not each inference."""
        report, energy = self._benchmark(job)
        self._last = report
        return Samples(
            "latency",
            "ns",
            "mean of one benchmark_model run each",
            (report.mean_us * 1e3,),
            () if report.first_us is None else (report.first_us * 1e3,),
            None if energy is None else energy / (report.n + max(1, job.discard)),
        )

    def profile(self, runs: int = 50) -> Profile:
        """By operator, as benchmark_model tells with its profiler on."""
        report, _ = self._benchmark(Job(runs, discard=5), enable_op_profiling="true")
        if not report.operators:
            raise DeviceError(
                f"'{self.path.name}': benchmark_model gave no profile by operator",
                "this build of it may lack the profiler",
            )
        rows = [(o.operator, outputs_of(o.name), o.mean_ms) for o in report.operators]
        method = "benchmark_model --enable_op_profiling"
        return profile_of_table(self.path, rows, report.mean_us / 1e3, method, self.phone.name)

    def _benchmark(self, job: Job, **more: Any) -> tuple[Report, float | None]:
        """One run with further flags; its report, and the microjoules that the phone used."""
        words = [shlex.quote(f"--{k}={v}") for k, v in {**self._flags(job), **more}.items()]
        limit, mask = self.options.timeout, self._mask()
        pinned = f"taskset {mask} " if mask else ""
        # timeout(1) of toybox ends the process there too, should we go away.
        program = f"timeout {limit:g} {pinned}{self.phone.folder}/benchmark_model"
        script = (
            f"{READ_BATTERY}; battery; {program} {' '.join(words)} 2>&1;"
            " code=$?; battery; exit $code"
        )
        code, output, err = self.phone.shell(script, limit + 30)
        out, readings = take_readings(output)
        if code != 0:
            raise DeviceError(f"'{self.path.name}': {_failure(code, out or err)}")
        if not all(reading.discharging for reading in readings):
            note = "energy isn't measured while the battery is charged: connect over Wi-Fi"
            self._notes[note] = None
        self._check_delegate(out)
        return parse_report(out), energy_between(readings)

    def _flags(self, job: Job) -> dict[str, Any]:
        flags: dict[str, Any] = {
            "graph": self._remote,
            "num_threads": self.options.threads,
            "warmup_runs": max(1, job.discard),
            "warmup_min_secs": 0,
            "num_runs": job.runs,
            "min_secs": 0,
            "max_secs": max(1, round(min(job.max_seconds, self.options.timeout))),
            "use_xnnpack": str(self.options.xnnpack).lower(),
            "report_peak_memory_footprint": "true",
        }
        if self.options.batch:
            flags.update(self._input_shapes(self.options.batch))
        if len(self.options.delegates) > 1:
            raise DeviceError("benchmark_model takes one delegate", "name one --delegate alone")
        for library, options in self.options.delegates:
            flags["external_delegate_path"] = library
            if options:
                pairs = ";".join(f"{k}:{v}" for k, v in options.items())
                flags["external_delegate_options"] = pairs
        return flags

    def _input_shapes(self, batch: int) -> dict[str, str]:
        graph = read_graph(self.path)
        tensors = [graph.tensors[i] for i in graph.inputs]
        shapes = (",".join(map(str, (batch, *t.shape[1:]))) for t in tensors)
        return {
            "input_layer": ",".join(t.name for t in tensors),
            "input_layer_shape": ":".join(shapes),
        }

    def _mask(self) -> str:
        """The cores of the options, else those of the address, as taskset takes them."""
        if self.options.cpus:
            return f"{sum(1 << cpu for cpu in set(self.options.cpus)):x}"
        return self.phone.cores

    def _check_delegate(self, output: str) -> None:
        """Refuse figures of a run that went on without its delegate, which is only logged."""
        for library, _ in self.options.delegates:
            if "EXTERNAL delegate created" not in output:
                raise DeviceError(f"'{self.phone.name}' can't use the delegate '{library}'")
            if "will not be executed by the delegate" in output:
                self._notes["no operator was run by the delegate"] = None

    def facts(self) -> SessionFacts:
        """What the last run told."""
        last = self._last
        plan = plan_arena(self.path)
        mask = int(self._mask() or "0", 16)
        return SessionFacts(
            runtime="benchmark_model",
            load_ms=last.init_us / 1e3 if last and last.init_us is not None else None,
            peak_memory_bytes=last.peak_bytes if last else None,
            arena_bytes=plan.at_batch(self.options.batch),
            cpus=tuple(i for i in range(mask.bit_length()) if mask >> i & 1),
            notes=(
                "each value is the mean of one run of benchmark_model",
                *plan.warnings,
                *self._notes,
            ),
        )

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs that LiteRT gives there, through the runner in C."""
        if not self.phone.gives_outputs:
            raise DeviceError(
                f"'{self.phone.name}' can't give outputs back, so accuracy isn't measured there",
                "name LiteRT's library and a compiler for it: adb:…&litert=libLiteRt.so&cc=CLANG",
            )
        if self.options.delegates:
            raise DeviceError(
                f"'{self.phone.name}' can't give the outputs of a delegate back",
                "measure its accuracy with Python there: --device ssh://…",
            )
        options = replace(self.options, batch=None)
        channel = ShellChannel(self.phone, self._remote)
        with runtime_with(self.path, options, channel, RawRuntime) as runtime:
            return runtime.predict(inputs)


class ShellChannel:
    """The runner in C behind a shell that has no standard input: a fresh process for each request.

    Args:
        phone: The device.
        artifact: The artifact's path there.
    """

    def __init__(self, phone: Phone, artifact: str) -> None:
        self._phone, self._artifact = phone, artifact
        self._loading = ""
        self._sent: list[str] = []

    def ask_line(self, line: str, timeout: float) -> str:
        """Load the artifact again and answer one request."""
        lines = [self._loading, line] if self._loading else [line]
        self._loading = self._loading or line
        given = " ".join(shlex.quote(text) for text in lines)
        runner = f"{self._phone.folder}/runner {self._phone.folder}/{LIBRARY}"
        command = f"printf '%s\\n' {given} | timeout {timeout:g} {runner} 2>{self.place('said')}"
        code, out, _ = self._phone.shell(command, timeout + 30)
        replies = out.splitlines()
        if code != 0 or len(replies) != len(lines):
            _, said, _ = self._phone.shell(f"cat {self.place('said')}", 60.0)
            raise DeviceError(f"the runner {died(code, said)}")
        failed = [reply for reply in replies if reply.startswith('{"ok": false')]
        return (failed or replies)[-1]

    def put(self, path: Path) -> str:
        """Send a file; the artifact itself is there already."""
        if path.suffix != ".raw":
            return self._artifact
        remote = self._phone.push(path, path.name)
        self._sent.append(remote)
        return remote

    def fetch(self, name: str, target: Path) -> None:
        """Get a file that the runner wrote."""
        self._phone.pull(self.place(name), target)
        self._sent.append(self.place(name))

    def place(self, name: str) -> str:
        """A path in our folder there."""
        return f"{self._phone.folder}/{name}"

    def close(self) -> None:
        """Remove the arrays; the processes are over."""
        self._phone.shell(f"rm -f {' '.join([*self._sent, self.place('said')])}", 60.0)


def _failure(code: int, output: str) -> str:
    if code == 124:
        return "benchmark_model ran past its time limit and was stopped"
    if code in (137, 9):
        return "benchmark_model was killed (out of memory?)"
    lines = [line for line in output.strip().splitlines() if line]
    message = next((x for x in lines if x.startswith("ERROR")), lines[-1] if lines else "no output")
    return f"benchmark_model failed with code {code}: {message.strip()}"
