"""The child's part of ONNX: tf2onnx by the route that gives a right file, proved in ONNX Runtime.

tf2onnx reports success for files that no runtime loads, so each route's file is loaded and run on
probe samples before it is believed:

1. from the function: right for nearly all, recurrent layers included;
2. from the frozen graph: right where the first route would make inputs of constants, those of a
   Normalization; the first route isn't tried there;
3. the same with its transposes left in place, should moving them go wrong.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.exporters.onnx.constant_shapes import with_constant_shapes
from edgepress.deploy.exporters.onnx.handlers import HANDLERS
from edgepress.deploy.exporters.onnx.names import named, settle_shapes
from edgepress.deploy.exporters.onnx.session import quiet_session
from edgepress.deploy.exporters.onnx.tf2onnx_patches import patched_tf2onnx
from edgepress.deploy.exporters.tracing import SIGNATURE
from edgepress.deploy.process.malloc import returning_blocks

if TYPE_CHECKING:
    import onnx
    from tensorflow.types.experimental import ConcreteFunction

# Raises where a model is refused or computes something else than the graph.
Judge = Callable[[Any], None]
HIGHEST_OPSET = 18
_SAME = 1e-3


@returning_blocks()
def convert(request: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a SavedModel to ONNX.

    Args:
        request: `source` (SavedModel folder), `reference` (one of the same outputs that TensorFlow
            runs, where some operators in `source` only stand for ONNX's), `out` (file), `opset`,
            `nchw` (names of inputs that the file takes channels first), `inputs` and `outputs`
            (names in order), `probe` (.npz of samples by input name), `slim` (whether to clean the
            graph).

    Returns:
        `route`, `operators`, `opset` and `ir_version` of the file.

    Raises:
        ValueError: No route gives a file that computes what the graph does.
    """
    import onnx
    import tensorflow as tf

    loaded = tf.saved_model.load(request["source"])
    function = loaded.signatures[SIGNATURE]
    with np.load(request["probe"]) as file:
        probe = {name: file[name] for name in file.files}
    reference, runs = function, request.get("reference", request["source"])
    if runs != request["source"]:
        reference = tf.saved_model.load(runs).signatures[SIGNATURE]
    expected = reference(**{name: tf.constant(array) for name, array in probe.items()})
    want = [expected[name].numpy() for name in request["outputs"]]
    judge = partial(_check, probe=probe, want=want, request=request)
    problems = []
    for route in _routes(function):
        try:
            with patched_tf2onnx():
                model = named(route(function, request), request)
            judge(model)
        except Exception as error:
            problems.append(f"{route.__name__.strip('_')}: {type(error).__name__}: {error}")
            continue
        if request.get("slim", True):
            model = _slimmed(model, judge)
        fixed = partial(with_constant_shapes, samples=_as_taken(probe, request))
        model = _if_equal(model, fixed, judge, "computed shapes are left")
        settle_shapes(model.graph)
        onnx.save(model, request["out"])
        return {
            "route": route.__name__.strip("_"),
            "operators": sorted({node.op_type for node in model.graph.node}),
            "opset": model.opset_import[0].version,
            "ir_version": model.ir_version,
        }
    raise ValueError(" | ".join(" ".join(p.split())[:180] for p in problems))


def _routes(function: ConcreteFunction) -> Sequence[Callable[[Any, Mapping[str, Any]], Any]]:
    """The routes that are worth trying, the best first."""
    import tensorflow as tf

    by_graph = (_from_frozen_graph, _with_all_transposes)
    captures_constants = any(t.dtype != tf.resource for t in function.captured_inputs)
    return by_graph if captures_constants else (_from_function, *by_graph)


def _from_function(function: ConcreteFunction, request: Mapping[str, Any]) -> onnx.ModelProto:
    import tensorflow as tf
    import tf2onnx

    names = request["inputs"]
    given = function.structured_input_signature[1]
    signature = [tf.TensorSpec(given[n].shape, given[n].dtype, name=n) for n in names]

    def ordered(*tensors: Any) -> list[Any]:
        # A mapping of outputs would be flattened in the order of its sorted keys.
        outputs = function(**dict(zip(names, tensors, strict=True)))
        return [outputs[name] for name in request["outputs"]]

    plain = tf.function(ordered, input_signature=signature, autograph=False)
    return tf2onnx.convert.from_function(
        plain,
        input_signature=signature,
        opset=request["opset"],
        inputs_as_nchw=list(request.get("nchw") or ()),
        custom_op_handlers=HANDLERS,
    )[0]


def _from_frozen_graph(function: ConcreteFunction, request: Mapping[str, Any]) -> onnx.ModelProto:
    import tf2onnx

    graph, names = _frozen(function, request)
    gc.collect()  # The frozen function is cycles, with its own copies of the weights.
    return tf2onnx.convert.from_graph_def(
        graph,
        input_names=[names[n] for n in request["inputs"]],
        output_names=[names[n] for n in request["outputs"]],
        inputs_as_nchw=[names[n] for n in request.get("nchw") or ()],
        opset=request["opset"],
        custom_op_handlers=HANDLERS,
    )[0]


def _frozen(function: ConcreteFunction, request: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
    """A function as a GraphDef, and the names of its tensors by those of its inputs and outputs."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function)
    names = {tensor.op.name: tensor.name for tensor in frozen.inputs}
    # A mapping of outputs is flattened in the order of its sorted keys.
    for name, tensor in zip(sorted(request["outputs"]), frozen.outputs, strict=True):
        names[name] = tensor.name
    return frozen.graph.as_graph_def(), names


def _with_all_transposes(function: ConcreteFunction, request: Mapping[str, Any]) -> onnx.ModelProto:
    from tf2onnx import optimizer

    left_out = optimizer._optimizers.pop("optimize_transpose")
    try:
        return _from_frozen_graph(function, request)
    finally:
        optimizer._optimizers["optimize_transpose"] = left_out
        optimizer._optimizers.move_to_end("optimize_transpose", last=False)


def _check(
    model: onnx.ModelProto,
    probe: Mapping[str, NDArray[Any]],
    want: list[NDArray[Any]],
    request: Mapping[str, Any],
) -> None:
    """Let ONNX's checker, its shape inference and ONNX Runtime judge the model.

    Raises:
        Exception: One of them refuses it.
        ValueError: Its outputs differ from the graph's.
    """
    import onnx

    onnx.checker.check_model(model, full_check=True)
    got = quiet_session(model).run(None, _as_taken(probe, request))
    for name, a, b in zip(request["outputs"], got, want, strict=True):
        scale = float(np.abs(b).max(initial=0)) or 1.0
        if a.shape != b.shape or not np.allclose(a / scale, b / scale, atol=_SAME, equal_nan=True):
            raise ValueError(f"output '{name}' differs from the graph's")


def _as_taken(probe: Mapping[str, NDArray[Any]], request: Mapping[str, Any]) -> dict[str, Any]:
    """Samples as the file takes them, the channels first where that is asked for."""
    first = set(request.get("nchw") or ())
    return {n: np.moveaxis(a, -1, 1) if n in first else a for n, a in probe.items()}


def _slimmed(model: onnx.ModelProto, judge: Judge) -> onnx.ModelProto:
    """The model with its graph cleaned by onnxslim, where that is installed and proves equal."""
    try:
        import onnxslim
    except ImportError:
        return model
    slim = _if_equal(model, onnxslim.slim, judge, "onnxslim's graph isn't used")
    return slim if len(slim.graph.node) < len(model.graph.node) else model


def _if_equal(
    model: onnx.ModelProto, change: Callable[[Any], Any], judge: Judge, otherwise: str
) -> onnx.ModelProto:
    """A changed model, where there is something to change and it proves equal; else the model."""
    try:
        changed = change(model)
        if changed is None:
            return model
        judge(changed)
    except Exception as error:
        print(f"{otherwise}: {error}")
        return model
    return changed
