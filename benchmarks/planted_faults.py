"""Faults in a mixture that change no shape and no checksum of a kernel, and whether an artifact's canary finds them.

Two experts exchanged, two rows of the router, or the two coefficients of the routed and the residual branch; each in an
early, the middle and the last mixture. A fault is an exchange of bytes in the weights of a copy, so it is the same in
every precision, and the same exchange takes it back. File digests would betray it at once, of course: here it stands
for what goes wrong after the files were read.

The experts of the model must differ, else these faults change nothing.
"""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from moesaic.artifact import ModelArtifact
from moesaic.errors import ArtifactError, CanaryError
from moesaic.model.canary import replay_plain
from moesaic.model.probes import replay_probes
from moesaic.model.safetensors_header import Placement, read_header
from moesaic.server.engine import VllmEngine, VllmSettings

__all__ = [
    "Exchange",
    "FaultResult",
    "PlantedFault",
    "check_in_engine",
    "check_plainly",
    "detect_faults",
    "exchange_bytes",
    "faults",
    "faulty_layers",
]

_WEIGHTS = "model.safetensors"
_KV_CACHE_BYTES = 512 * 2**20


class Exchange(NamedTuple):
    """Two ranges of a file that take each other's place."""

    first: int
    """Where the first range begins, in bytes."""
    second: int
    length: int


@dataclass(frozen=True, kw_only=True)
class PlantedFault:
    """One fault, as exchanges in the weight file."""

    name: str
    layer: int
    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True, kw_only=True)
class FaultResult:
    """What a check said."""

    fault: str
    layer: int | None
    """None for the sound model."""
    check: str
    """Which check it was."""
    detected: bool
    difference: float | None = None
    """What the check found where it refused the model: nats, or a relative error of one layer."""
    threshold: float | None = None
    """What it would have let pass."""


def faulty_layers(counts: list[int]) -> list[int]:
    """The first, the middle and the last mixture among layers with these numbers of experts."""
    mixtures = [layer for layer, experts in enumerate(counts) if experts]
    return sorted({mixtures[0], mixtures[len(mixtures) // 2], mixtures[-1]})


def faults(header: dict[str, Placement], layer: int, experts: int) -> list[PlantedFault]:
    """The three faults of one mixture with this many routed experts, in a file with this header."""
    prefix = f"model.layers.{layer}.mlp."
    first = re.compile(rf"{re.escape(prefix)}experts\.0\.")
    names = [name for name in header if first.match(name)]
    swapped = tuple(_whole(header[name], header[first.sub(f"{prefix}experts.1.", name)]) for name in names)
    gate = [header[f"{prefix}gate.{kind}"] for kind in ("weight", "bias")]

    def fault(name: str, exchanges: tuple[Exchange, ...]) -> PlantedFault:
        return PlantedFault(name=name, layer=layer, exchanges=exchanges)

    return [
        fault("two experts exchanged", swapped),
        # Other experts than above: the same two would be the same fault seen from the other side.
        fault("two gate rows exchanged", tuple(_rows(tensor, 0, experts - 1) for tensor in gate)),
        fault("coefficients exchanged", tuple(_rows(tensor, experts, experts + 1) for tensor in gate)),
    ]


def exchange_bytes(path: Path, exchanges: tuple[Exchange, ...]) -> None:
    """Exchange ranges of a file; doing it twice restores the file."""
    with path.open("r+b") as file:
        for first, second, length in exchanges:
            file.seek(first)
            one = file.read(length)
            file.seek(second)
            other = file.read(length)
            file.seek(second)
            file.write(one)
            file.seek(first)
            file.write(other)


def check_plainly(artifact: ModelArtifact) -> None:
    """What `moesaic model verify` computes: log-probabilities and expert probes, in plain PyTorch.

    Raises:
        CanaryError: the weights do not give what the artifact promises.
    """
    canary = artifact.manifest.canary
    assert canary is not None
    canary.check_probes(replay_probes(artifact.folder, canary.probes))
    canary.check(replay_plain(artifact))


def check_in_engine(artifact: ModelArtifact) -> None:
    """What happens when the artifact is served: vLLM loads it, and the engine replays the canary.

    Where this machine needs a bf16 copy, it is made anew each time: one kept from the sound model would hide a fault.

    Raises:
        CanaryError: the engine refuses to serve it.
        DamagedArtifactError: a copy was to be made, for which the files must match their digests.
    """

    async def start(copies: Path) -> None:
        engine = VllmEngine(artifact, VllmSettings(kv_cache_bytes=_KV_CACHE_BYTES, cache_folder=copies))
        await engine.start()
        await engine.stop()

    with tempfile.TemporaryDirectory(prefix="moesaic-copies-") as folder:
        asyncio.run(start(Path(folder)))


def detect_faults(
    artifact: ModelArtifact,
    scratch: Path,
    check: Callable[[ModelArtifact], None],
    *,
    name: str,
    layers: list[int] | None = None,
) -> list[FaultResult]:
    """Check a sound copy of the artifact, and then each fault in it.

    Args:
        artifact: a mixture in one weight file.
        scratch: folder in which the copy gets a folder of its own; that is removed in the end.
        check: raises an `ArtifactError`, as a rule `CanaryError`, to refuse a model.
        name: name of the check.
        layers: mixtures to plant faults in; the first, the middle and the last one by default.
    """
    counts = list(artifact.manifest.architecture.experts_per_layer)
    header = read_header(artifact.folder / _WEIGHTS)
    planted = [fault for layer in layers or faulty_layers(counts) for fault in faults(header, layer, counts[layer])]
    with _copied(artifact, scratch) as copy:
        results = [_result(copy, check, name, None)]
        for fault in planted:
            exchange_bytes(copy.folder / _WEIGHTS, fault.exchanges)
            results.append(_result(copy, check, name, fault))
            exchange_bytes(copy.folder / _WEIGHTS, fault.exchanges)
    return results


def _result(
    copy: ModelArtifact, check: Callable[[ModelArtifact], None], name: str, fault: PlantedFault | None
) -> FaultResult:
    refusal: ArtifactError | None = None
    try:
        check(copy)
    except ArtifactError as error:
        refusal = error
    measured = refusal if isinstance(refusal, CanaryError) else None
    return FaultResult(
        fault="none" if fault is None else fault.name,
        layer=None if fault is None else fault.layer,
        check=name,
        detected=refusal is not None,
        difference=None if measured is None else measured.difference,
        threshold=None if measured is None else measured.threshold,
    )


@contextmanager
def _copied(artifact: ModelArtifact, scratch: Path) -> Iterator[ModelArtifact]:
    # A name of its own: two benchmarks may share the folder of models.
    with tempfile.TemporaryDirectory(prefix=".faulty-", dir=scratch) as folder:
        yield ModelArtifact.open(shutil.copytree(artifact.folder, Path(folder) / artifact.folder.name))


def _whole(first: Placement, second: Placement) -> Exchange:
    return Exchange(first.offset_bytes, second.offset_bytes, first.spec.num_bytes)


def _rows(tensor: Placement, first: int, second: int) -> Exchange:
    length = tensor.spec.num_bytes // tensor.spec.shape[0]
    return Exchange(tensor.offset_bytes + first * length, tensor.offset_bytes + second * length, length)
