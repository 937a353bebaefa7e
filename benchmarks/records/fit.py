"""What `fit.json` holds."""

from __future__ import annotations

from edgepress.benchmarks.records.base import Record, Several
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

    @property
    def missed(self) -> bool:
        """Whether an output falls below the floor on samples that had no say."""
        return any(floor.verdict == "missed" for floor in self.floors)


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
    """

    share: float
    sparsity: float
    rung: int
    seconds: float
    objective: float | None = None
    drop: float | None = None
    error: float = 0.0


class FitRecord(SearchRecord):
    """A fit: the trials as those of a search, and what came out.

    Attributes:
        minimise: The objective.
        max_drop: The floor: the largest fall of the metric.
        quantize: The precision that paid most in the given model.
        spent_s: Seconds so far.
        plans: What was tried, in the order of `trials`, without the first, which removes nothing.
        underway: The trial that was begun last and isn't done; its `seconds` are those so far.
        picks: The files to choose from.
        inputs: Key of the model, the data and all else that trials are made from.
    """

    minimise: str = ""
    max_drop: float = 0.0
    quantize: str = ""
    spent_s: float = 0.0
    plans: Several[FitTrial] = ()
    underway: FitTrial | None = None
    picks: Several[PickRecord] = ()
    inputs: str = ""
