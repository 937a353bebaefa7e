"""SavedModel folders as sources: converted, compared and looked at by their signature."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from edgepress.benchmarks.runtimes.runtime import LocalChannel, Runtime
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.compress.kernel.files import sha256
from edgepress.compress.models.other_kinds import SAVED_MODEL
from edgepress.deploy.exporters import EXPORTERS, Exporter
from edgepress.deploy.exporters.exporter import Trace
from edgepress.deploy.exporters.tracing import TracedModel, graph_names
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.sources.contents.account import FileInspection
from edgepress.deploy.sources.formats.savedmodel_reading import PROGRAM, SavedModelReader
from edgepress.deploy.sources.model_file import ForeignFile, asked, inspected
from edgepress.deploy.sources.signature import check_samples, checked, plain_names

_RUNNER = "edgepress.deploy.sources.formats.savedmodel_runner"


class SavedModelFolder(ForeignFile):
    """A SavedModel folder, by its signature.

    Args:
        path: The folder.

    Raises:
        InputError: It is none, is damaged, has no signature, or its graph isn't run.
    """

    what = SAVED_MODEL
    precision = "float32"
    converts = True

    def __init__(self, path: Path) -> None:
        self.path = path
        reader = SavedModelReader(path)
        self.key = reader.key
        self.signature = checked(path, reader.signature())
        check_samples(path, self.signature)
        self._files = sorted(file for file in path.rglob("*") if file.is_file())

    def inspect(self) -> FileInspection:
        """Its operations, added up by a child process."""
        return inspected(self, "savedmodel-inspect", {"key": self.key}, self._files)

    def identify(self) -> str:
        """A hash over all its files."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(
                f"{file.relative_to(self.path)}:{sha256(file)};".encode("utf-8", "surrogatepass")
            )
        return digest.hexdigest()

    def exporters(self) -> Mapping[str, Exporter]:
        """All formats: converters take its graph as they take a Keras model's."""
        return EXPORTERS

    def runtime(self, threads: int = 1) -> Runtime:
        """TensorFlow in a child process."""
        channel = LocalChannel(("-P", "-m", _RUNNER))
        options = {"signature": self.key}
        runtime = Runtime(
            self.path / PROGRAM, threads, channel=channel, runtime="tensorflow", options=options
        )
        runtime.path = self.path  # the runner takes the folder
        return runtime

    @property
    def trace(self) -> Trace:
        """The signature's graph with names that converters take."""
        return partial(_trace, self)


def _trace(
    folder: SavedModelFolder,
    worker: Worker,
    out: Path,
    batch: int | None,
    shapes: Mapping[str, Sequence[int]],
) -> TracedModel:
    """Have the signature's graph written.

    Raises:
        InputError: TensorFlow refuses it.
    """
    sides = folder.signature.inputs, folder.signature.outputs
    plain = [plain_names(specs) for specs in sides]
    given, got = (
        dict(zip((s.name for s in specs), graph_names(names), strict=True))
        for specs, names in zip(sides, plain, strict=True)
    )
    own = dict(zip(plain[0], given, strict=True))
    request = {
        "source": str(folder.path.absolute()),
        "out": str(out),
        "key": folder.key,
        "inputs": given,
        "outputs": got,
        "batch": batch,
        "shapes": {own[name]: list(sizes) for name, sizes in shapes.items()},
    }
    reply = asked(worker, "savedmodel-trace", request, folder.path)
    inputs, outputs = (
        tuple(TensorSpec(name, tuple(shape), dtype) for name, shape, dtype in reply[side])
        for side in ("inputs", "outputs")
    )
    return TracedModel(out, inputs, outputs, reply["operations"])
