"""What the words and figures of tables, pages and messages mean; one table for all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word and what it means.

    Attributes:
        text: One or two sentences.
        also: Other words for it, such as the heads of columns.
        see: Related terms.
    """

    text: str
    also: tuple[str, ...] = ()
    see: tuple[str, ...] = ()


GLOSSARY: dict[str, Term] = {
    "agreement": Term(
        "The share of samples on which a file decides as its source does: the same top class, the"
        " same label, or for values within the tolerance.",
        see=("largest error", "verified"),
    ),
    "arena": Term(
        "The memory that a runtime needs for the tensors between the layers of a network; on a"
        " microcontroller it is set aside as one block.",
        see=("peak memory",),
    ),
    "artifact": Term("An exported file that a device runs.", ("file",)),
    "calibration": Term(
        "Running samples through a model to find the ranges of its tensors, from which int8 numbers"
        " get their scales.",
        see=("int8", "scale"),
    ),
    "channel group": Term(
        "Channels of several layers that can only be removed together, since they are added,"
        " multiplied or otherwise bound to each other.",
        ("group",),
        ("channels",),
    ),
    "channels": Term(
        "The outputs of a filter or neuron. Removing whole channels makes a model smaller and"
        " faster on any device.",
        see=("channel group", "sparsity"),
    ),
    "coded bytes": Term(
        "The size of a layer's kernel once its values are coded by how frequent they are, with the"
        " table of values: small after pruning and clustering.",
        see=("gzip",),
    ),
    "criterion": Term("The score by which weights or channels are ranked for pruning."),
    "dynamic": Term(
        "A precision: weights are stored as int8, and the range of activations is found in each"
        " inference. Needs no calibration.",
        see=("int8",),
    ),
    "first inference": Term(
        "The time of the first inference after loading, which also pays for what the runtime"
        " prepares once.",
        ("first",),
        ("load", "median"),
    ),
    "float16": Term(
        "A precision: weights are stored in 16 bits and the file has half the size. Most processors"
        " compute with them in float32.",
    ),
    "gate": Term("A comparison with an earlier result that fails on a regression.", ("against",)),
    "gzip": Term(
        "The size of a file once packed, as an app or an update ships it; zeros shrink this size"
        " and not that of the file itself.",
        ("zstd",),
        ("sparsity",),
    ),
    "int16x8": Term("A precision: weights in 8 bits, activations in 16.", see=("int8",)),
    "int8": Term(
        "A precision: weights and activations are whole numbers of 8 bits with a scale. A quarter"
        " of the size, and what integer-only devices need.",
        see=("calibration", "qat", "scale"),
    ),
    "interval": Term(
        "The range in which the true median lies with a confidence of 95 %. Intervals that don't"
        " overlap show a difference; those that do show none.",
        ("95 % interval", "ci95"),
        ("median", "same"),
    ),
    "largest error": Term(
        "The largest absolute difference of any output value between a file and its source, over"
        " all samples.",
        ("max error", "max_abs_error"),
        ("agreement", "tolerance"),
    ),
    "launch": Term("A start of the runtime in a process of its own; runs are spread over several."),
    "load": Term("The time from opening a file until the runtime is ready."),
    "lowering": Term("Rewriting an operation in others that a file format or a runtime knows."),
    "macs": Term(
        "Multiplications with additions in one inference: how much a network computes. Time follows"
        " it only roughly.",
        ("mac",),
        ("median",),
    ),
    "median": Term(
        "The middle of all measured times of one inference: half took less, half took more.",
        ("latency", "time"),
        ("interval", "p90"),
    ),
    "metric": Term(
        "What the task is judged by, such as accuracy; measured on the split that is named.",
        see=("split",),
    ),
    "noise": Term(
        "Of a quantised file: the root mean square of its differences from the source over the"
        " spread of the outputs.",
        see=("tolerance",),
    ),
    "objective": Term(
        "A figure by which a search or a fit compares what it tries; `of the given` is its share of"
        " the given model's.",
        ("of the given",),
        ("pareto front",),
    ),
    "p90": Term(
        "The time that 90 % of the inferences don't exceed; p99 is that of 99 %.",
        ("p99", "p95"),
        ("median",),
    ),
    "parameters": Term("The numbers that a model has learnt.", ("params",), ("macs",)),
    "pareto front": Term(
        "The recipes that no other beats in every objective.", ("front",), ("objective",)
    ),
    "peak": Term(
        "The most arithmetic that a device was measured to do; `of peak` is the share an operator"
        " reaches.",
        ("of peak", "GFLOP/s", "bound by"),
    ),
    "peak memory": Term("The most memory that the process of a runtime held.", see=("arena",)),
    "per second": Term("Inferences a second, one after the other.", ("throughput",), ("median",)),
    "pick": Term(
        "A file that a fit proposes: the safest, the one at the knee, the smallest or fastest."
    ),
    "pinned": Term("Of channels: that they can't be removed, for a reason that is given."),
    "plan": Term("What a fit did to a model before exporting it: training, pruning, precision."),
    "points": Term("The difference of two percentages: from 90 % to 87 % are −3 points."),
    "precision": Term(
        "The number type of a file: float32, float16, dynamic, int8, int16x8.", see=("int8",)
    ),
    "qat": Term(
        "Training with quantisation simulated, so that weights adapt to int8.",
        ("qat-epochs",),
        ("int8",),
    ),
    "recipe": Term("A YAML file that describes a run of the pipeline."),
    "recovery": Term("The training after or during pruning, which brings the metric back."),
    "run": Term(
        "One execution of the pipeline, and its folder; of a benchmark, one timed inference.",
        ("runs",),
    ),
    "same": Term(
        "No difference that this measurement could see: it lies within the noise of the machine.",
        ("no difference shown",),
        ("interval",),
    ),
    "scale": Term(
        "What an integer of a quantised tensor is multiplied with to give the number it stands for,"
        " after the zero point is taken away.",
        ("zero point",),
        ("int8",),
    ),
    "sparsity": Term(
        "The share of zeros among weights. A dense file keeps its size and its time; the packed"
        " file gets smaller.",
        see=("gzip", "channels"),
    ),
    "split": Term("A part of the data: train, validation (val) or test."),
    "sqnr": Term(
        "Signal over quantisation noise of a layer's output in dB; 20 dB more is a tenth of the"
        " error.",
        ("SQNR dB",),
    ),
    "stage": Term("A step of the pipeline with a folder of its own, which --resume finds again."),
    "strip": Term("Removing parts of a model that only training needs."),
    "tolerance": Term(
        "How far a file of a precision may differ from its source and still pass.",
        see=("largest error", "verified"),
    ),
    "verified": Term(
        "Loaded in its own runtime, compared with its source and within the tolerance, on the"
        " samples that are named.",
        ("verdict",),
        ("agreement", "tolerance"),
    ),
    "xnnpack": Term("The library by which TensorFlow Lite computes on ordinary processors."),
}

_BY_WORD = {word.lower(): name for name, term in GLOSSARY.items() for word in (name, *term.also)}


def term_of(word: str) -> str | None:
    """The glossary's name for a word of any case, or None; heads of columns are words too."""
    return _BY_WORD.get(word.strip().lower())


def words() -> list[str]:
    """Every word that `term_of` knows."""
    return sorted(_BY_WORD)
