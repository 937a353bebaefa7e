"""The record of a search: Optuna's study in a file that survives a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reading
from edgepress.compress.kernel.files import sha256
from edgepress.deploy.searching.samplers import sampler_for
from edgepress.deploy.searching.space import SearchRecipe, distributions, drawn_of
from edgepress.deploy.searching.trial import Outcome, as_attributes

if TYPE_CHECKING:
    from optuna import Study

Points = Mapping[int, Sequence[float]]
_START_OVER = "start the search again in another folder"


def open_study(
    path: Path, recipe: SearchRecipe, directions: Sequence[str], workers: int, inputs: str = ""
) -> Study:
    """The study in a file, made where there is none.

    A new study tries the recipe's own values first.

    Args:
        path: The file.
        recipe: What varies.
        directions: "minimize" or "maximize", by objective.
        workers: Trials that run at once.
        inputs: Key of all that trials are made from; a study of another key isn't gone on with.

    Raises:
        InputError: Optuna isn't installed, or the file is of another search, or damaged.
    """
    optuna = _optuna()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    new = not path.exists()
    with reading(f"the search's journal '{path}'", _START_OVER):
        study: Study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name="edgepress",
            directions=list(directions),
            sampler=sampler_for(recipe.search.sampler, recipe.seed, 0, workers),
            load_if_exists=True,
        )
        _check_trials(study, recipe, path)
    if [d.name.lower() for d in study.directions] != list(directions):
        raise InputError(f"'{path}' was made for other objectives", "choose another output")
    known = study.user_attrs.get("inputs")
    if known not in (None, inputs):
        raise InputError(
            f"the recipe, the model, the data or code of yours is no longer what the trials in"
            f" '{path}' were made from",
            _START_OVER,
        )
    if known is None:
        study.set_user_attr("inputs", inputs)
    own = drawn_of(recipe, recipe.own()) if new else None
    if own is not None:
        study.enqueue_trial(own)
    return study


def _check_trials(study: Study, recipe: SearchRecipe, path: Path) -> None:
    """Refuse a journal whose trials aren't such as a search of the recipe writes."""
    from optuna.trial import TrialState

    known = distributions(recipe)
    for place, trial in enumerate(study.trials):
        kept = trial.user_attrs
        artifact = PurePosixPath(str(kept.get("artifact", "")))
        whole = (
            trial.number == place
            and trial.params.keys() <= known.keys()
            and not artifact.is_absolute()
            and ".." not in artifact.parts
            and isinstance(kept.get("figures") or {}, dict)
            and isinstance(kept.get("sha256") or "", str)
            and isinstance(kept.get("reason", ""), str)
        )
        if trial.state == TrialState.COMPLETE:
            whole = whole and isinstance(kept.get("accepted"), bool)
            whole = whole and isinstance(kept.get("artifact"), str)
        if not whole:
            raise InputError(
                f"trial {place} in '{path}' isn't one that this search wrote: the file was edited"
                " or is damaged",
                _START_OVER,
            )


def check_files(study: Study, folder: Path) -> None:
    """Refuse a search of which an accepted file isn't the one that was judged.

    Args:
        study: The search's.
        folder: Of the search.

    Raises:
        InputError: Names the file.
    """
    for trial in study.trials:
        kept = trial.user_attrs
        if kept.get("accepted") and kept.get("sha256"):
            check_judged(trial_folder(folder, trial.number) / kept["artifact"], kept["sha256"])


def check_judged(file: Path, digest: str) -> None:
    """Refuse a file that isn't the one that was judged.

    Raises:
        InputError: It is gone, or was changed.
    """
    if not file.is_file() or sha256(file) != digest:
        raise InputError(
            f"'{file}' is not the file that its trial was judged by",
            f"put it back, or {_START_OVER}",
        )


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial of a search runs."""
    return folder / "trials" / f"{number:04d}"


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError:
        raise InputError(
            "a search needs Optuna", "install it with: pip install 'edgepress[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def draw(study: Study, recipe: SearchRecipe, workers: int) -> tuple[int, Mapping[str, Any]]:
    """A new trial: its number, and what was drawn.

    The draws depend on the seed and on the trials so far alone, so that a search which was stopped
    goes on as one that was not.
    """
    study.sampler = sampler_for(recipe.search.sampler, recipe.seed, len(study.trials), workers)
    trial = study.ask(distributions(recipe))
    return trial.number, trial.params


def record(study: Study, number: int, outcome: Outcome) -> None:
    """Write down what a trial came to."""
    from optuna.trial import Trial, TrialState

    if outcome.values and study.user_attrs.get("relative_latency") is None:
        study.set_user_attr("relative_latency", outcome.relative)
    trial = Trial(study, study.trials[number]._trial_id)
    for name, value in as_attributes(outcome).items():
        trial.set_user_attr(name, value)
    if outcome.values:
        study.tell(number, outcome.values)
    else:
        study.tell(number, state=TrialState.FAIL)


def begun(study: Study) -> int:
    """How many trials were drawn; the recipe's own waits in the study until it is."""
    from optuna.trial import TrialState

    return sum(trial.state != TrialState.WAITING for trial in study.trials)


def unfinished(study: Study) -> list[tuple[int, Mapping[str, Any]]]:
    """Trials that were running when the search was stopped."""
    from optuna.trial import TrialState

    running = study.get_trials(states=(TrialState.RUNNING,))
    return [(trial.number, trial.params) for trial in running]


def latencies_are_relative(study: Study) -> bool | None:
    """Whether a study's latencies are multiples of a reference; None where it has none yet."""
    from optuna.trial import TrialState

    kept = study.user_attrs.get("relative_latency")
    if kept is not None:
        return bool(kept)
    # Studies of before held milliseconds.
    return False if study.get_trials(states=(TrialState.COMPLETE,)) else None


def accepted_points(study: Study) -> Points:
    """The objectives of each accepted trial by its number, all so that less is better."""
    from optuna.trial import TrialState

    done = [t for t in study.get_trials(states=(TrialState.COMPLETE,)) if t.user_attrs["accepted"]]
    signs = signs_of(study)
    return {t.number: [s * v for s, v in zip(signs, t.values, strict=True)] for t in done}


def signs_of(study: Study) -> list[float]:
    """What makes less of each objective better."""
    return [1.0 if d.name == "MINIMIZE" else -1.0 for d in study.directions]


def front(points: Points) -> list[int]:
    """Numbers of the trials that no other beats in every objective."""
    return [n for n, p in points.items() if not any(_beats(q, p) for q in points.values())]


def shortlist(points: Points, most: int) -> list[int]:
    """Trials that a new measurement might bring to the front: it, the next front, and so on."""
    left, found = dict(points), list[int]()
    while left and len(found) < most:
        best = front(left)
        found += best
        left = {n: p for n, p in left.items() if n not in best}
    return sorted(found[: max(most, len(front(points)))])


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
