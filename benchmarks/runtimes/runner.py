"""Owns a native runtime (LiteRT or ONNX Runtime) in a process of its own.

A stand-alone script: Python 3.10 or newer, NumPy and one runtime; it is also what is sent to a
board, with `host_info.py` and `tensor_io.py` beside it. It reads one JSON object a line from
standard input and answers each with one on standard output: `{"ok": true, …}` or `{"ok": false,
"error": "one line", "file": whether the file is at fault}`. Whatever libraries print goes to
standard error.
The requests ("do"):

    load         path, runtime, threads, xnnpack, reference, delegates, providers, batch, cpus,
                 profile
    describe     inputs, outputs, operators, providers, cpus
    time         n, discard, seed, max_seconds, sysfs: raw nanoseconds of n inferences, and the
                 microjoules that they all took where the machine counts them
    predict      inputs (.npz), outputs (.npz), real: floats in and out of quantised tensors
    memory       VmHWM and VmRSS, with those after the imports
    profile      what ONNX Runtime's profiler saw since a load with `profile` (a file prefix)
    quit
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from typing import Any


def load_beside(name: str) -> Any:
    """A script in this folder, which isn't on the path: it may hold a standard library's name."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)  # noqa: PTH100, PTH118, PTH120
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOST, TENSORS = load_beside("host_info.py"), load_beside("tensor_io.py")


class NotHere(ValueError):
    """This machine lacks what was asked for: the file is not at fault."""


def load_delegate(litert: Any, path: str, options: dict[str, str]) -> Any:
    """A delegate out of its library.

    Raises:
        NotHere: The library can't be loaded, or refuses its options.
    """
    try:
        return litert.load_delegate(path, options or None)
    except (OSError, AttributeError, ValueError) as error:
        raise NotHere(f"the delegate '{path}' can't be used: {error}") from None


class LiteRT:
    """A `.tflite` file in LiteRT."""

    def __init__(self, request: dict[str, Any]) -> None:
        begin = time.perf_counter_ns()
        from importlib.metadata import version

        from ai_edge_litert import interpreter as litert

        self.import_ns = time.perf_counter_ns() - begin
        self.version = version("ai-edge-litert")
        HOST.reset_peak()
        self.baseline = HOST.read_memory()
        delegates = [load_delegate(litert, *named) for named in request.get("delegates") or ()]
        kinds = litert.OpResolverType
        plain = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        kernels = kinds.AUTO if request.get("xnnpack", True) else plain
        kernels = kinds.BUILTIN_REF if request.get("reference") else kernels
        begin, file = time.perf_counter_ns(), TENSORS.file_of(request["path"])
        self.interpreter = litert.Interpreter(
            **{"model_path" if isinstance(file, str) else "model_content": file},
            num_threads=request.get("threads", 1),
            experimental_delegates=delegates or None,
            experimental_op_resolver_type=kinds.BUILTIN_REF
            if request.get("reference")
            else kernels,
        )
        self._resize(request.get("batch"))
        self.load_ns = time.perf_counter_ns() - begin
        self.inputs = self._specs(self.interpreter.get_input_details(), "inputs")
        self.outputs = self._specs(self.interpreter.get_output_details(), "outputs")
        self.home = [
            tuple(int(s) for s in d["shape"]) for d in self.interpreter.get_input_details()
        ]

    def _resize(self, batch: int | None) -> None:
        for detail in self.interpreter.get_input_details() if batch else ():
            self.interpreter.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]])
        self.planned = True
        try:
            self.interpreter.allocate_tensors()
        except RuntimeError:
            # A free size is 1 until there are inputs: too small for a kernel that doesn't pad.
            self.planned = False
            details = self.interpreter.get_input_details()
            if all(size >= 0 for d in details for size in d["shape_signature"][1:]):
                raise

    def _specs(self, details: list[Any], side: str) -> list[dict[str, Any]]:
        """Tensors in the model's order, named by the signature where the file has one."""
        names = {}
        for key in list(self.interpreter.get_signature_list())[:1]:
            runner = self.interpreter.get_signature_runner(key)
            named = runner.get_input_details() if side == "inputs" else runner.get_output_details()
            names = {detail["index"]: name for name, detail in named.items()}
        specs = []
        for detail in details:
            scales = detail["quantization_parameters"]["scales"]
            shape = [int(s) for s in detail.get("shape_signature", detail["shape"])]
            specs.append(
                {
                    "name": names.get(detail["index"], detail["name"]),
                    "tensor": detail["name"],
                    "shape": [None if s < 0 else s for s in shape],
                    "dtype": detail["dtype"].__name__,
                    "scale": float(scales[0]) if len(scales) else None,
                    "zero_point": int(detail["quantization"][1]) if len(scales) else None,
                }
            )
        return specs

    def providers(self) -> list[str]:
        """None: those are ONNX Runtime's."""
        return []

    def operators(self) -> list[str]:
        """Operators as planned; DELEGATE stands for what a delegate took over."""
        return [op["op_name"] for op in self.interpreter._get_ops_details()]

    def prepare(self, arrays: list[Any]) -> None:
        """Give the inputs, resizing them (and planning again) where their shapes differ."""
        details = self.interpreter.get_input_details()
        if any(tuple(d["shape"]) != a.shape for d, a in zip(details, arrays, strict=True)):
            for detail, array in zip(details, arrays, strict=True):
                self.interpreter.resize_tensor_input(detail["index"], array.shape)
            self.interpreter.allocate_tensors()
            self.planned = True
            details = self.interpreter.get_input_details()
        if not self.planned:
            raise ValueError("free sizes are 1 here, too small for it; export it with --shape")
        for detail, array in zip(details, arrays, strict=True):
            self.interpreter.set_tensor(detail["index"], array)

    def forget(self) -> None:
        """Clear the state that recurrent operators keep from one inference to the next."""
        self.interpreter.reset_all_variables()

    def invoke(self) -> None:
        """One inference."""
        self.interpreter.invoke()

    def results(self) -> list[Any]:
        """The outputs of the last inference, copied."""
        return [
            self.interpreter.get_tensor(d["index"]) for d in self.interpreter.get_output_details()
        ]


def check_providers(wanted: list[str], present: list[str], why: str) -> None:
    """Refuse to go on without an execution provider that was asked for."""
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise NotHere(f"ONNX Runtime here {why} {', '.join(missing)}: it has {', '.join(present)}")


class OnnxRuntime:
    """An `.onnx` file in ONNX Runtime."""

    def __init__(self, request: dict[str, Any]) -> None:
        begin = time.perf_counter_ns()
        import onnxruntime as ort

        self.import_ns = time.perf_counter_ns() - begin
        ort.disable_telemetry_events()
        self.version = ort.__version__
        HOST.reset_peak()
        self.baseline = HOST.read_memory()
        options = ort.SessionOptions()
        options.intra_op_num_threads = request.get("threads", 1)
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        if request.get("profile"):
            options.enable_profiling, options.profile_file_prefix = True, request["profile"]
        providers = request.get("providers") or ["CPUExecutionProvider"]
        check_providers(providers, ort.get_available_providers(), "was built without")
        path, begin = TENSORS.file_of(request["path"]), time.perf_counter_ns()
        self.session = ort.InferenceSession(path, options, providers=providers)
        self.load_ns = time.perf_counter_ns() - begin
        # One whose libraries or hardware are missing is left out without an error.
        check_providers(providers, self.providers(), "could not start")
        self.inputs = [self._spec(t) for t in self.session.get_inputs()]
        self.outputs = [self._spec(t) for t in self.session.get_outputs()]
        batch = request.get("batch") or 1
        self.home = [
            tuple(s or (batch if i == 0 else 1) for i, s in enumerate(t["shape"]))
            for t in self.inputs
        ]
        self.feed: dict[str, Any] = {}
        self.last: list[Any] = []

    @staticmethod
    def _spec(tensor: Any) -> dict[str, Any]:
        dtype = tensor.type[len("tensor(") : -1]
        dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
        shape = [size if isinstance(size, int) else None for size in tensor.shape]
        return {
            "name": tensor.name,
            "tensor": tensor.name,
            "shape": shape,
            "dtype": dtype,
            "scale": None,
            "zero_point": None,
        }

    def providers(self) -> list[str]:
        """Those in use, the first preferred."""
        return list(self.session.get_providers())

    def operators(self) -> list[str]:
        """Unknown: a session doesn't tell; its profile does."""
        return []

    def prepare(self, arrays: list[Any]) -> None:
        """Give the inputs."""
        self.feed = {spec["name"]: a for spec, a in zip(self.inputs, arrays, strict=True)}

    def forget(self) -> None:
        """Nothing to do: a session keeps no state."""

    def invoke(self) -> None:
        """One inference."""
        self.last = self.session.run(None, self.feed)

    def results(self) -> list[Any]:
        """The outputs of the last inference."""
        return list(self.last)


RUNTIMES: dict[str, Any] = {"litert": LiteRT, "onnxruntime": OnnxRuntime}


def run_batches(runtime: Any, arrays: list[Any], batch: int) -> list[Any]:
    """All outputs, `batch` samples at a time; a short last batch is padded by its last sample."""
    import numpy as np

    total = len(arrays[0])
    parts: list[list[Any]] = []
    for begin in range(0, total, batch):
        chunk = [a[begin : begin + batch] for a in arrays]
        short = batch - len(chunk[0])
        if short:
            chunk = [np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for a in chunk]
        runtime.prepare(chunk)
        runtime.forget()
        runtime.invoke()
        results = [np.array(r) for r in runtime.results()]
        if batch == 1:
            results = [r if r.ndim and len(r) == 1 else r[None] for r in results]
        if any(not r.ndim or len(r) != batch for r in results):
            raise ValueError("the outputs have another batch size than the inputs")
        parts.append([r[: batch - short] for r in results])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def predict(runtime: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Run all samples: many at once where the model's batch is free, else as the file says."""
    import numpy as np

    with np.load(request["inputs"]) as file:
        arrays = TENSORS.chosen(request["inputs"], runtime.inputs, {k: file[k] for k in file.files})
    arrays = [TENSORS.to_tensor(a, s) for a, s in zip(arrays, runtime.inputs, strict=True)]
    total, sizes = len(arrays[0]), [s["shape"][0] for s in runtime.inputs]
    fixed = next((size for size in sizes if size), 0)
    batch = fixed or max(1, min(total, request.get("batch", 32)))
    try:
        results = run_batches(runtime, arrays, batch)
    except (ValueError, RuntimeError):
        if batch == 1 or fixed:
            raise
        batch, results = 1, run_batches(runtime, arrays, 1)
    if request.get("real", True):
        results = [TENSORS.to_real(r, s) for r, s in zip(results, runtime.outputs, strict=True)]
    names = [s["name"] for s in runtime.outputs]
    np.savez(request["outputs"], **dict(zip(names, results, strict=True)))
    return {"samples": total, "batch": batch}


def measure_times(runtime: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Raw nanoseconds of n inferences on one made-up input, those to discard apart."""
    seed, discard = request.get("seed", 0), request.get("discard", 0)
    pairs = zip(runtime.home, runtime.inputs, strict=True)
    runtime.prepare([TENSORS.fill(shape, spec["dtype"], seed) for shape, spec in pairs])
    invoke, clock, raw = runtime.invoke, time.perf_counter_ns, []
    until = clock() + int(request.get("max_seconds", 1e6) * 1e9)
    root = request.get("sysfs", "/sys")
    energy = HOST.read_energy(root)
    for _ in range(discard + request["n"]):
        begin = clock()
        invoke()
        end = clock()
        raw.append(end - begin)
        if end > until and len(raw) > discard:
            break
    used = HOST.energy_between(energy, HOST.read_energy(root))
    return {"ns": raw[discard:], "discarded_ns": raw[:discard], "energy_uj": used}


def end_profile(runtime: Any, _: dict[str, Any]) -> dict[str, Any]:
    """The kernel events of a session that was loaded with `profile`."""
    path = runtime.session.end_profiling()
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        events = json.load(file)
    os.unlink(path)  # noqa: PTH108
    end = "_kernel_time"
    nodes: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(end):
            name = event["name"][: -len(end)]
            node = nodes.setdefault(name, {"node": name, "us": [], "arguments": event["args"]})
            node["us"].append(event["dur"])
    return {"nodes": list(nodes.values())}


ACTIONS: dict[str, Any] = {"time": measure_times, "predict": predict, "profile": end_profile}


def bind(cpus: list[int]) -> None:
    """Bind this process to cores; threads that it starts inherit that."""
    missing = sorted(set(cpus) - set(range(os.cpu_count() or 1)))
    if missing:
        raise NotHere(f"there is no core {missing[0]}: they are 0 to {(os.cpu_count() or 1) - 1}")
    if cpus:
        os.sched_setaffinity(0, cpus)


def answer(request: dict[str, Any], loaded: list[Any]) -> dict[str, Any]:
    """Carry out one request; `loaded` holds the runtime once there is one."""
    do = request["do"]
    if do == "load":
        bind(request.get("cpus") or [])
        runtime = RUNTIMES[request["runtime"]](request)
        loaded[:] = [runtime]
        return {
            "version": runtime.version,
            "import_ns": runtime.import_ns,
            "load_ns": runtime.load_ns,
        }
    runtime = loaded[0]
    if do == "memory":
        return {**HOST.read_memory(), **{f"baseline_{k}": v for k, v in runtime.baseline.items()}}
    if do == "describe":
        return {
            "inputs": runtime.inputs,
            "outputs": runtime.outputs,
            "operators": runtime.operators(),
            "providers": runtime.providers(),
            "cpus": sorted(os.sched_getaffinity(0)),
        }
    return ACTIONS[do](runtime, request)


def main() -> None:
    """Answer requests until `quit` or the end of the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    loaded: list[Any] = []
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            return
        try:
            reply = {"ok": True, **answer(request, loaded)}
        except Exception as error:
            # NumPy hides what kept it from loading behind a page of advice.
            cause = (isinstance(error, ImportError) and error.__cause__) or error
            text = " ".join(f"{type(cause).__name__}: {cause}".split())
            machine = isinstance(error, (NotHere, ImportError, MemoryError, OSError))
            reply = {"ok": False, "error": text[:500], "file": not machine}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
