"""The record of a search: Optuna's study in a file that survives a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reading
from edgepress.deploy.searching.curves import Point
from edgepress.deploy.searching.fronts import Points
from edgepress.deploy.searching.samplers import sampler_for
from edgepress.deploy.searching.space import SearchRecipe, distributions, drawn_of
from edgepress.deploy.searching.trial import Outcome, as_attributes

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

# Marks a trial that was drawn when there were enough.
SURPLUS = "surplus"
# What Optuna notes of a trial that is tried again.
_LOST = "failed_trial"
_START_OVER = "start the search again in another folder"


def open_study(path: Path, recipe: SearchRecipe, directions: Sequence[str], workers: int) -> Study:
    """The study in a file, made where there is none.

    A new study tries the recipe's own values first.

    Raises:
        InputError: Optuna isn't installed, or the file is of another search, or damaged.
    """
    optuna = optuna_or_refuse()
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
        check_trials(study, recipe, f"'{path}'")
    if [d.name.lower() for d in study.directions] != list(directions):
        raise InputError(f"'{path}' was made for other objectives", "choose another output")
    if new:
        begin_with_own(study, recipe)
    return study


def begin_with_own(study: Study, recipe: SearchRecipe) -> None:
    """Let the first trial be the recipe as it stands, where that lies in the space."""
    own = drawn_of(recipe, recipe.own())
    if own is not None:
        study.enqueue_trial(own)


def check_trials(study: Study, recipe: SearchRecipe, where: str) -> None:
    """Refuse a study whose trials aren't such as a search of the recipe writes.

    Args:
        study: The study.
        recipe: What is searched.
        where: The study's journal or database, for people.

    Raises:
        InputError: Names the first such trial.
    """
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
            and isinstance(kept.get("stopped") or 0, int)
            and _is_curve(kept.get("curve") or [])
        )
        if trial.state == TrialState.COMPLETE:
            whole = whole and isinstance(kept.get("accepted"), bool)
            whole = whole and isinstance(kept.get("artifact"), str)
        if not whole:
            raise InputError(
                f"trial {place} in {where} isn't one that this search wrote: the file was edited"
                " or is damaged",
                _START_OVER,
            )


def _is_curve(found: object) -> bool:
    """Whether a value is a curve: a list of points, each of some numbers."""
    return isinstance(found, list) and all(
        isinstance(point, list) and point and all(isinstance(v, int | float) for v in point)
        for point in found
    )


def optuna_or_refuse() -> ModuleType:
    """The package, told to be quiet.

    Raises:
        InputError: It isn't installed.
    """
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
    # Kept with the trial, not by the sampler: whatever drew it, the next one knows.
    for name, excess in outcome.constraints.items():
        trial.set_constraint(name, excess)
    if outcome.values:
        study.tell(number, outcome.values)
    elif outcome.stopped:
        study.tell(number, state=TrialState.PRUNED)
    else:
        study.tell(number, state=TrialState.FAIL)


def begun(study: Study) -> int:
    """How many trials were drawn; the recipe's own waits in the study until it is."""
    from optuna.trial import TrialState

    return sum(trial.state != TrialState.WAITING for trial in study.trials)


def counted(study: Study) -> list[FrozenTrial]:
    """The trials that count: not those that were given back, nor those that are tried again."""
    trials = study.get_trials(deepcopy=False)
    again = {t.system_attrs[_LOST] for t in trials if _LOST in t.system_attrs}
    again |= {n for t in trials for n in t.system_attrs.get("retry_history", ())}
    return [t for t in trials if t.number not in again and not t.user_attrs.get(SURPLUS)]


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


def curves_of(study: Study) -> dict[int, Sequence[Point]]:
    """The curves of trials that came to an end or were stopped early, by number."""
    from optuna.trial import TrialState

    done = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    found = {t.number: [tuple(p) for p in t.user_attrs.get("curve") or ()] for t in done}
    return {number: curve for number, curve in found.items() if curve}


def signs_of(study: Study) -> list[float]:
    """What makes less of each objective better."""
    return [1.0 if d.name == "MINIMIZE" else -1.0 for d in study.directions]
