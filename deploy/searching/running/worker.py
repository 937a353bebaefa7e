"""A worker of a search that was begun elsewhere."""

from __future__ import annotations

import time

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.progress import Progress, Silent
from edgepress.deploy.pipeline.recipe_checks import check_recipe
from edgepress.deploy.searching.running.database import join
from edgepress.deploy.searching.running.driver import Driver, Material
from edgepress.deploy.searching.running.queues import SharedQueue


def search_worker(
    storage: str,
    study: str | None = None,
    *,
    workers: int = 1,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> int:
    """Run trials of a search that was begun elsewhere, until all of them have ended.

    Recipe, model, data and the search's folder are those that the search names: they must be found
    under the same paths here.

    Args:
        storage: The search's database.
        study: Its name there; the only one by default.
        workers: Trials that run at once; they share the processor.
        seconds: Time after which no trial is begun. No bound if None.
        progress: Receives the progress.

    Returns:
        How many trials the search has.

    Raises:
        InputError: The database can't be used, or what the search names isn't found here.
    """
    if workers < 1 or (seconds is not None and seconds <= 0):
        raise InputError("a worker needs at least one trial at once, and time above 0 seconds")
    database = join(storage, study)
    recipe, progress = database.recipe, progress or Silent()
    if not (database.folder / "recipe.yaml").is_file():
        raise InputError(
            f"'{database.folder}', the folder of the search, isn't found here",
            "it must lie on a disk that all workers share, under the same path",
        )
    material = Material.of(recipe, progress)
    check_recipe(recipe, material.data)
    until = None if seconds is None else time.monotonic() + seconds
    Driver(
        material,
        database.folder,
        database.study,
        SharedQueue(database, recipe, workers),
        workers,
        progress,
        until,
        database.trials,
    ).run()
    return database.trials
