"""The runner for OpenVINO, with the same requests as `runner.py`.

A request to load also has `precision` (OpenVINO's hint for the type that kernels compute in) and
`device` (CPU, GPU or NPU). Without a hint OpenVINO takes bfloat16 on some processors, which changes
outputs, so there is always one; one that the device doesn't follow is an error, never a fallback.

Source: OpenVINO's documentation, "Precision Control" and "Query Device Properties".
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from edgepress.benchmarks.runtimes import runner


class OpenVino:
    """A `.tflite` or `.onnx` file in OpenVINO."""

    def __init__(self, request: dict[str, Any]) -> None:
        begin = time.perf_counter_ns()
        import openvino

        self.import_ns = time.perf_counter_ns() - begin
        self.version = openvino.__version__.partition("-")[0]
        path = request["path"]
        # LiteRT reads what OpenVINO leaves out: the signature's names, and scales.
        known = runner.LiteRT({**request, "xnnpack": False}) if _is_tflite(path) else None
        runner.HOST.reset_peak()
        self.baseline = runner.HOST.read_memory()
        begin = time.perf_counter_ns()
        core = openvino.Core()
        if request["device"] not in {d.partition(".")[0] for d in core.available_devices}:
            present = ", ".join(core.available_devices)
            raise runner.NotHere(f"OpenVINO has no {request['device']} here: it has {present}")
        self.compiled = core.compile_model(
            path,
            request["device"],
            {
                "INFERENCE_PRECISION_HINT": request["precision"],
                "INFERENCE_NUM_THREADS": request.get("threads", 1),
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        self.load_ns = time.perf_counter_ns() - begin
        self._check_precision(request["precision"], request["device"])
        self.request = self.compiled.create_infer_request()
        self._tensor, self._kernels = openvino.Tensor, self._count_kernels()
        self.inputs = known.inputs if known else [_spec(port) for port in self.compiled.inputs]
        self.outputs = known.outputs if known else [_spec(port) for port in self.compiled.outputs]
        self._places = [_ports(self.compiled.inputs, self.inputs),
                        _ports(self.compiled.outputs, self.outputs)]  # fmt: skip
        batch = request.get("batch") or 1
        self.home = [
            tuple(s or (batch if i == 0 else 1) for i, s in enumerate(spec["shape"]))
            for spec in self.inputs
        ]

    def _check_precision(self, wanted: str, device: str) -> None:
        hint = self.compiled.get_property("INFERENCE_PRECISION_HINT")
        found = hint.get_type_name()
        if found != wanted:
            raise runner.NotHere(f"{device} computes in {found} where {wanted} was asked for")

    def _count_kernels(self) -> dict[str, int]:
        """Kernels by the type that they compute in, those that hold data left out."""
        nodes = (op.get_rt_info() for op in self.compiled.get_runtime_model().get_ordered_ops())
        counted = Counter(
            str(info["runtimePrecision"].value)
            for info in nodes
            if str(info["layerType"].value)
            not in ("Const", "Input", "Output", "Parameter", "Result")
        )
        return dict(counted.most_common())

    def providers(self) -> list[str]:
        """The devices that it runs on."""
        return list(self.compiled.get_property("EXECUTION_DEVICES"))

    def operators(self) -> list[str]:
        """Unknown: kernels stand for several operators each."""
        return []

    def kernels(self) -> dict[str, int]:
        """How many kernels compute in which type."""
        return self._kernels

    def prepare(self, arrays: list[Any]) -> None:
        """Give the inputs, copied."""
        for place, array in zip(self._places[0], arrays, strict=True):
            self.request.set_input_tensor(place, self._tensor(array))

    def forget(self) -> None:
        """Clear the state that recurrent operators keep from one inference to the next."""
        self.request.reset_state()

    def invoke(self) -> None:
        """One inference."""
        self.request.infer()

    def results(self) -> list[Any]:
        """The outputs of the last inference, copied."""
        return [self.request.get_output_tensor(place).data.copy() for place in self._places[1]]


def _is_tflite(path: str) -> bool:
    return path.lower().endswith(".tflite")


def _spec(port: Any) -> dict[str, Any]:
    """A tensor of an ONNX file, whose integers are behind its own operators."""
    import numpy as np

    name, kind = port.get_any_name(), port.element_type.get_type_name()
    if kind == "bf16":
        # OpenVINO would hand out its bits as those of float16.
        raise ValueError(f"'{name}' is of bfloat16, which can't be read here; let it be float32")
    shape = [size.get_length() if size.is_static else None for size in port.partial_shape]
    return {
        "name": name,
        "tensor": name,
        "shape": shape,
        "dtype": np.dtype(port.element_type.to_dtype()).name,
        "scale": None,
        "zero_point": None,
    }


def _ports(ports: Any, specs: list[dict[str, Any]]) -> list[int]:
    """For each tensor its place among OpenVINO's, which keeps names but not always the order."""
    places = [
        next((i for i, port in enumerate(ports) if spec["tensor"] in port.get_names()), number)
        for number, spec in enumerate(specs)
    ]
    if len(ports) != len(specs) or len({*places}) != len(places):
        raise ValueError("OpenVINO gives it other inputs or outputs than the file says")
    return places


if __name__ == "__main__":
    runner.RUNTIMES["openvino"] = OpenVino
    runner.ACTIONS["kernels"] = lambda loaded, _: loaded.kernels()
    runner.main()
