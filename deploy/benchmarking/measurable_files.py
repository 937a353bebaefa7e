"""SavedModel folders as artifacts: measured as the TFLite file that `export` makes of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from edgepress.benchmarks.measuring import Candidate
from edgepress.compress.errors import CheckFailed
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.processes.scratch import own_folder
from edgepress.deploy.sources.model_files import check_whole, open_foreign


def as_measured(path: Path, progress: Progress) -> Path:
    """The file that a device runs for an artifact.

    A device that edgepress measures on has no TensorFlow, so a SavedModel's time is that of its
    float32 TFLite file, verified against the folder.

    Args:
        path: A `.tflite` or `.onnx` file, or a SavedModel folder.
        progress: Told that another file is measured.

    Returns:
        The file itself, or one made of the folder that is kept until the program ends.

    Raises:
        InputError: It is damaged, or of no kind that can be run.
        CheckFailed: The folder can't be converted.
    """
    if not path.is_dir():
        check_whole(path)
        return path
    from edgepress.deploy.exporting.export import export

    name = path.resolve().name
    progress.stage(f"{name} is a SavedModel: measured as its float32 TFLite file")
    home = Path(tempfile.mkdtemp(dir=own_folder()))  # as long as the process, which measures it
    result = export(open_foreign(path), home / "files", ["tflite"], ["float32"])
    if not result.artifacts:
        reasons = [f.reason for f in result.failed] + [s.reason for s in result.skipped]
        raise CheckFailed(f"'{path}' can't be measured: as TFLite, {reasons[0]}")
    return result.artifacts[0].path.rename(home / f"{name}.tflite")


def named_as_given(
    candidates: Iterable[Candidate], given: Mapping[Path, Path]
) -> tuple[Candidate, ...]:
    """Candidates under the paths that the user gave, whatever file stands for them.

    Args:
        candidates: What is measured.
        given: The user's path for each file.
    """
    return tuple(
        replace(c, name=c.name.replace(str(c.path), str(given[c.path]), 1), given=given[c.path])
        for c in candidates
    )
