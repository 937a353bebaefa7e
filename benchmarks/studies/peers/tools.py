"""The table of tools: what is installed for each, and which script does its jobs."""

from __future__ import annotations

from dataclasses import dataclass

OWN = "edgepress"
_TORCH = ("torch==2.13.0", "numpy<3")
_ONNX = ("onnx==1.23.2", "onnxruntime==1.32.0")


@dataclass(frozen=True)
class Tool:
    """A tool.

    Attributes:
        title: Its name in tables.
        requires: What its environment holds, pinned; none is the environment of edgepress.
        side: The module of `sides` that does its jobs.
    """

    title: str
    requires: tuple[str, ...]
    side: str


TOOLS = {
    OWN: Tool("edgepress", (), "own"),
    "torch-pruning": Tool("Torch-Pruning", (*_TORCH, "torch-pruning==1.6.1"), "torch_pruning"),
    "tfmot": Tool(
        "TFMOT",
        ("tensorflow==2.21.0", "tf_keras==2.21.0", "tensorflow-model-optimization==0.8.1"),
        "tfmot",
    ),
    "converter": Tool("LiteRT converter", ("tensorflow==2.21.0", "keras==3.15.1"), "converter"),
    "ai-edge-quantizer": Tool(
        "ai-edge-quantizer", ("ai-edge-quantizer==0.10.0", "ai-edge-litert==2.3.0"), "ai_edge"
    ),
    "onnxruntime": Tool("ONNX Runtime", _ONNX, "onnx_runtime"),
    "nncf": Tool("NNCF", ("nncf==3.4.0", *_TORCH, *_ONNX), "nncf"),
    "neural-compressor": Tool(
        "Neural Compressor", ("neural-compressor==3.10", *_ONNX), "neural_compressor"
    ),
    "onnxsim": Tool("onnxsim", ("onnxsim==0.8.1", *_ONNX), "onnxsim"),
}
