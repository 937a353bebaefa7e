"""What `fit.json` holds."""

from __future__ import annotations

from pydantic import Field

from edgepress.benchmarks.records.base import Record, Several, Some
from edgepress.benchmarks.records.search import SearchRecord


class FloorRecord(Record):
    """What samples that had no say in any choice tell of one file and the floor.

    Attributes:
        output: The model's output; empty for the metric over all of them.
        metric: Its name.
        split: The split.
        samples: How many.
        before: The given model's metric.
        after: The file's.
        drop: The fall: points of a score as a share of 1, or the share by which an error grew.
        interval: 95 % interval of the fall, from the same samples of both; None where it can't be
            taken sample by sample.
        verdict: "kept" where the interval lies within the floor, "not shown" where the fall does
            but its interval doesn't, "missed".
        needed: About how many samples would show it, where they can be told.
    """

    output: str = ""
    metric: str
    split: str = ""
    samples: int | None = None
    before: float
    after: float
    drop: float
    interval: tuple[float, float] | None = None
    verdict: str
    needed: int | None = None


class LimitRecord(Record):
    """A pick's figure, as last measured, and the most that it may be.

    Attributes:
        name: "ram", "bytes" or "latency".
        most: In bytes or ms, or as a share of the given model's float file.
        share: Whether `most` and the figures are such shares.
        value: The figure; None where it wasn't measured.
        interval: 95 % interval of a latency.
        verdict: "kept" where the whole interval lies within the limit; "not shown" where the figure
            does but its interval doesn't, or there is none; "missed".
    """

    name: str
    most: float
    share: bool = False
    value: float | None = None
    interval: tuple[float, float] | None = None
    verdict: str


class NearestRecord(Record):
    """A file that comes near where none keeps the floor and the limits.

    Attributes:
        trial: Its trial's number.
        words: What was done to the model.
        file: The file, relative to the fit's folder.
        needs: The floor or limits that would let it pass on the data that trials are judged by, as
            the command line takes them.
    """

    trial: int
    words: str
    file: str
    needs: Several[str] = ()


class PickRecord(Record):
    """One of the files that a fit ends with.

    Attributes:
        names: "safest", "knee", "smallest"; several where one file is all of them.
        trial: Its trial's number.
        words: What was done to the model.
        file: The file, relative to the fit's folder.
        recipe: What `compress` makes it with again, relative to the fit's folder.
        quantize: Its precision.
        sha256: Hash of the file.
        objective: What is minimised, as last measured.
        ratio: The objective over the given model's: that of its float32 TFLite file where both are
            measured last, else that of the first trial.
        floors: The metric of each output against the floor.
        limits: What must not be exceeded.
    """

    names: Several[str]
    trial: int
    words: str
    file: str
    recipe: str
    quantize: str
    sha256: str | None = None
    objective: float | None = None
    ratio: float | None = None
    floors: Several[FloorRecord] = ()
    limits: Several[LimitRecord] = ()

    @property
    def missed(self) -> bool:
        """Whether an output falls below the floor on samples that had no say, or a limit doesn't
        hold in the last measurement.
        """
        verdicts = [*(one.verdict for one in self.floors), *(one.verdict for one in self.limits)]
        return "missed" in verdicts


class FitTrial(Record):
    """What one trial came to, as far as choices follow from it.

    Attributes:
        share: Of the MACs that stayed.
        sparsity: Share of zeros in the weights that stayed.
        rung: How long it was trained: the position in the list of epochs.
        seconds: What it cost.
        objective: What is minimised; None without a file.
        drop: The fall on validation data; None without a file.
        error: One standard error of that fall.
        qat: Whether what was trained was also trained for int8.
        over: The share by which the file exceeds a limit; 0 or less where it holds all of them.
        float_drop: The fall of the same model as a float file, where that was needed: of int8 files
            that miss the floor.
    """

    share: float
    sparsity: float
    rung: int
    seconds: float
    objective: float | None = None
    drop: float | None = None
    error: float = 0.0
    qat: bool = False
    over: float = 0.0
    float_drop: float | None = None


class FitRecord(SearchRecord):
    """A fit: the trials as those of a search, and what came out.

    Attributes:
        minimise: The objective.
        max_drop: The floor: the largest fall of the metric.
        limits: What may not be exceeded as it was asked for, by objective.
        quantize: The precision that paid most in the given model.
        spent_s: Seconds so far.
        plans: What was tried, in the order of `trials`.
        underway: The trial that was begun last and isn't done; its `seconds` are those so far.
        picks: The files to choose from.
        nearest: Where there are none, what comes near.
        inputs: Key of the model, the data and all else that trials are made from.
    """

    minimise: str = ""
    max_drop: float = 0.0
    limits: Some[float | str] = Field(default_factory=dict)
    quantize: str = ""
    spent_s: float = 0.0
    plans: Several[FitTrial] = ()
    underway: FitTrial | None = None
    picks: Several[PickRecord] = ()
    nearest: Several[NearestRecord] = ()
    inputs: str = ""
