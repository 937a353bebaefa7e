"""A study in a database, which workers on several machines share."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from edgepress.compress.errors import InputError
from edgepress.deploy.recipe import recipe_text
from edgepress.deploy.searching.space import SearchRecipe
from edgepress.deploy.searching.study import (
    SURPLUS,
    begin_with_own,
    check_trials,
    counted,
    optuna_or_refuse,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage

# How often a worker says that a trial is being run, and after how long without a word it is tried
# again, in seconds.
HEARTBEAT_S = 20
_GRACE_S = 3 * HEARTBEAT_S
_MOST_RETRIES = 3
# Names of what a study holds beside its trials.
_RECIPE, _FOLDER, _TRIALS = "edgepress:recipe", "edgepress:folder", "edgepress:trials"


@dataclass(frozen=True)
class Database:
    """A study in a database.

    Attributes:
        storage: The database.
        study: The study.
        shown: Its address without a password.
    """

    storage: RDBStorage
    study: Study
    shown: str

    @property
    def trials(self) -> int:
        """How many trials there are to be in the end."""
        return int(self.study.user_attrs[_TRIALS])

    @property
    def folder(self) -> Path:
        """The folder of the search, where all workers find it."""
        return Path(self.study.user_attrs[_FOLDER])

    @property
    def recipe(self) -> SearchRecipe:
        """What is searched."""
        return SearchRecipe.model_validate(yaml.safe_load(self.study.user_attrs[_RECIPE]))

    @property
    def how_to_join(self) -> str:
        """The command of a worker."""
        return f"edgepress search-worker --storage {self.shown} --study {self.study.study_name}"

    def beat(self, number: int) -> None:
        """Say that a trial is being run."""
        self.storage.record_heartbeat(self.study.trials[number]._trial_id)

    def claim(self, number: int) -> bool:
        """Whether a trial that was just drawn is one of those that are wanted.

        Two workers may draw the last one at the same moment; the later draw is given back.
        """
        from optuna.trial import TrialState

        wanted = [trial.number for trial in counted(self.study)][: self.trials]
        if number in wanted:
            return True
        self.study._storage.set_trial_user_attr(
            self.study.trials[number]._trial_id, SURPLUS, value=True
        )
        self.study.tell(number, state=TrialState.FAIL)
        return False

    def give_up_stale(self) -> None:
        """Let trials whose worker died be tried again."""
        from optuna.storages import fail_stale_trials

        with own_heartbeats():
            fail_stale_trials(self.study)


def begin(
    url: str,
    name: str,
    recipe: SearchRecipe,
    directions: Sequence[str],
    folder: Path,
    trials: int,
    resume: bool,
) -> Database:
    """The study of a search in a database: a new one, or that of one which goes on.

    Args:
        url: The database, as SQLAlchemy takes it: sqlite:///FILE, postgresql://USER@HOST/NAME.
        name: The study's.
        recipe: What is searched.
        directions: Of the objectives.
        folder: Of the search.
        trials: How many there are to be in the end.
        resume: Whether the study goes on.

    Raises:
        InputError: The database can't be used, or the study is there, or isn't, or is another one.
    """
    optuna = optuna_or_refuse()
    shown = without_password(url)
    with _said(shown):
        storage = _opened(url)
        known = {s.study_name for s in optuna.get_all_study_summaries(storage, False)}
        if resume and name not in known:
            raise InputError(
                f"{shown} holds no study '{name}' to resume", "name the one it had: --study"
            )
        if not resume and name in known:
            raise InputError(
                f"{shown} already holds a study '{name}'",
                "go on with it by --resume, or name another one: --study",
            )
        study = optuna.create_study(
            storage=storage, study_name=name, directions=list(directions), load_if_exists=resume
        )
        if resume:
            _check_same(study, recipe, shown, directions)
        else:
            study.set_user_attr(_RECIPE, recipe_text(recipe))
            begin_with_own(study, recipe)
        study.set_user_attr(_FOLDER, str(folder.absolute()))
        study.set_user_attr(_TRIALS, max(trials, study.user_attrs.get(_TRIALS, 0)))
    return Database(storage, study, shown)


def join(url: str, name: str | None) -> Database:
    """The study of a search that was begun elsewhere.

    Args:
        url: The database.
        name: The study's; the only one by default.

    Raises:
        InputError: The database can't be used, or it isn't clear which study is meant.
    """
    optuna = optuna_or_refuse()
    shown = without_password(url)
    with _said(shown):
        storage = _opened(url)
        names = [
            s.study_name
            for s in optuna.get_all_study_summaries(storage, False)
            if _RECIPE in s.user_attrs and name in (None, s.study_name)
        ]
        if len(names) != 1:
            there = f"{len(names)} studies of a search" if names else "no study of a search"
            called = "" if name is None else f" called '{name}'"
            raise InputError(
                f"{shown} holds {there}{called}",
                f"name one: --study {names[0]}" if names else "begin one: edgepress search",
            )
        study = optuna.load_study(storage=storage, study_name=names[0])
        found = Database(storage, study, shown)
        check_trials(study, found.recipe, f"{shown}, study '{names[0]}'")
    return found


def without_password(url: str) -> str:
    """An address as it may be shown.

    >>> without_password("postgresql://me:secret@host/db")
    'postgresql://me@host/db'
    """
    return re.sub(r"(://[^:@/]*):[^@]*@", r"\1@", url)


def _check_same(study: Study, recipe: SearchRecipe, shown: str, directions: Sequence[str]) -> None:
    """Refuse to go on with the study of another search."""
    same = study.user_attrs.get(_RECIPE) == recipe_text(recipe)
    if not same or [d.name.lower() for d in study.directions] != list(directions):
        raise InputError(
            f"study '{study.study_name}' in {shown} was made for another recipe",
            "name another one: --study",
        )
    check_trials(study, recipe, f"{shown}, study '{study.study_name}'")


def _opened(url: str) -> RDBStorage:
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    with own_heartbeats():
        return RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=_GRACE_S,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(_MOST_RETRIES),
        )


@contextmanager
def own_heartbeats() -> Iterator[None]:
    """Leave out that heartbeats may change their interface, and that others than Optuna tell them.

    The range of Optuna bounds the one; `Database.beat` is the other.
    """
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
        yield


@contextmanager
def _said(shown: str) -> Iterator[None]:
    """Turn what the database's drivers raise into one line; none repeats a password."""
    import sqlalchemy.exc

    problems: tuple[type[Exception], ...] = (
        sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError, RuntimeError
    )  # fmt: skip
    try:
        yield
    except InputError:
        raise
    except problems as error:
        why: Any = getattr(error, "orig", None) or type(error).__name__
        if isinstance(error, ImportError):
            why = "its driver isn't installed, such as psycopg for PostgreSQL"
        first = without_password(str(why)).strip().splitlines()[:1]
        raise InputError(
            f"{shown} can't be used: {''.join(first)}",
            "write sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME",
        ) from None
