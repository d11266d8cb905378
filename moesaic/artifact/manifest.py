"""The manifest of a model artifact: what `moesaic.json` says, as frozen records that check themselves.

- The digest is the sha256 of the canonical JSON (sorted keys, no blanks, ASCII). The file repeats it, so that an
  altered byte of the manifest itself is noticed when it is read; the other files have their own sha256 in it.
- Standard library only: the server, the trainer and `moesaic model info` all read it, the last without torch.
"""

import hashlib
import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, Self

from moesaic.artifact.canary import Canary
from moesaic.artifact.record import Option, Record
from moesaic.errors import DamagedArtifactError, ForeignArtifactError, InputError

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "ArchitectureFacts",
    "FileRecord",
    "Licence",
    "Lineage",
    "Manifest",
    "Quantization",
]

FORMAT_VERSION = 1
"""Version of the manifest's format that this Moesaic writes, and the only one that it reads."""

MANIFEST_NAME = "moesaic.json"
"""Name of the manifest within the artifact's folder."""

_RESTORE = "restore it from a copy, or build the artifact again"
_POSITIVE = (1, math.inf)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UTC_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|\+00:00)")


@dataclass(frozen=True, kw_only=True)
class FileRecord(Record):
    """One file of the artifact."""

    name: str
    """Path below the artifact's folder, with `/` between its parts; it cannot leave the folder."""
    bytes: int
    """Size."""
    sha256: str
    """Digest of the content, 64 lower-case hexadecimal digits."""

    RANGES: ClassVar = {"bytes": (0, math.inf)}

    def _check(self) -> None:
        parts = self.name.split("/")
        strange = "\\" in self.name or not self.name.isprintable()
        if {"", ".", ".."} & set(parts) or strange or self.name == MANIFEST_NAME:
            raise InputError(
                f"file name {self.name!r} is refused: it must be a plain relative path that stays in the artifact's "
                f"folder, other than {MANIFEST_NAME}; rename the file"
            )

        if not _SHA256.fullmatch(self.sha256):
            raise InputError(f"sha256 of {self.name!r} must be 64 hexadecimal digits, got {reprlib.repr(self.sha256)}")


@dataclass(frozen=True, kw_only=True)
class ArchitectureFacts(Record):
    """What the network is, for people and for capacity planning; `config.json` is what loaders read."""

    model_type: str
    """`gpt_moe`, or a stock dense type (`llama`, `mistral`, `qwen2`, `qwen3`)."""
    architecture: str
    """Class name of the model, such as `GPTMoEForCausalLM`."""
    parameters_total: int
    """All parameters, in units of one number, whatever their precision."""
    parameters_active: int
    """Parameters that one token passes through."""
    num_hidden_layers: int
    """Number of transformer blocks."""
    hidden_size: int
    """Width of the residual stream."""
    vocab_size: int
    """Rows of the embedding."""
    context_length: int
    """Longest sequence, in tokens."""
    experts_per_layer: tuple[int, ...]
    """Routed experts of each layer, 0 for a dense one; may be empty for a wholly dense model."""
    dtype: str
    """Type of the weights that are not quantized, such as `bfloat16`."""

    RANGES: ClassVar = {
        "parameters_total": _POSITIVE,
        "parameters_active": _POSITIVE,
        "num_hidden_layers": _POSITIVE,
        "hidden_size": _POSITIVE,
        "vocab_size": _POSITIVE,
        "context_length": _POSITIVE,
    }

    def _check(self) -> None:
        if self.parameters_active > self.parameters_total:
            raise InputError(f"parameters_active must not exceed {self.parameters_total}, got {self.parameters_active}")

        if len(self.experts_per_layer) not in (0, self.num_hidden_layers) or min(self.experts_per_layer, default=0) < 0:
            raise InputError(
                f"experts_per_layer must have one count (0 or more) for each of the {self.num_hidden_layers} layers, "
                f"got {reprlib.repr(self.experts_per_layer)}"
            )


@dataclass(frozen=True, kw_only=True)
class Quantization(Record):
    """How the weights were quantized; absent for a model in floating point."""

    scheme: str
    """Moesaic's name of it: `int8`, `int8-experts`, `int4`."""
    format: str
    """The compressed-tensors format on disk, such as `int-quantized`."""
    weight_bits: int
    """Bits of one quantized weight."""
    activation_bits: int | None
    """Bits of an activation, or None where activations stay in floating point."""
    group_size: int | None
    """Weights that share one scale, or None for one scale per output row."""
    matrices: int
    """Number of quantized matrices."""
    parameters: int
    """Number of quantized weights."""

    RANGES: ClassVar = {
        "weight_bits": (1, 32),
        "activation_bits": (1, 32),
        "group_size": _POSITIVE,
        "matrices": _POSITIVE,
        "parameters": _POSITIVE,
    }


@dataclass(frozen=True, kw_only=True)
class Lineage(Record):
    """Where the weights come from: the operation that made them, and those that made its input."""

    operation: str
    """The operation, such as `upcycle` or `quantize`."""
    base: str
    """Reference of the dense checkpoint at the root of it all."""
    parent: str | None
    """Digest of the artifact that the operation read, or None where it read no artifact."""
    options: Mapping[str, Option]
    """Settings of the operation."""
    created: str
    """Time in UTC, ISO 8601 to the second, such as `2026-02-03T04:05:06Z` (or `+00:00`)."""
    moesaic_version: str
    """Version of Moesaic that did it."""
    ancestors: "tuple[Lineage, ...]" = ()
    """Lineages of the artifacts it descends from, nearest first. `(parent.lineage,)` is enough: what that one carries
    is moved up beside it, so that a model refreshed every day keeps a list, not a tree a thousand levels deep."""

    def _check(self) -> None:
        if not _is_utc_time(self.created):
            raise InputError(f"Lineage.created must be a UTC time like '2026-02-03T04:05:06Z', got {self.created!r}")

        flat = [item for near in self.ancestors for item in (replace(near, ancestors=()), *near.ancestors)]
        object.__setattr__(self, "ancestors", tuple(flat))


def _is_utc_time(text: str) -> bool:
    if not _UTC_SECONDS.fullmatch(text):
        return False

    try:
        datetime.fromisoformat(text)
    except ValueError:  # the right digits, but no such day or hour
        return False

    return True


@dataclass(frozen=True, kw_only=True)
class Licence(Record):
    """Terms of the base model, as far as they are known."""

    name: str | None
    """Identifier, such as `apache-2.0`."""
    file: str | None
    """Name of the artifact's file with the text, such as `LICENSE-base.txt`."""


@dataclass(frozen=True, kw_only=True)
class Manifest(Record):
    """Everything that `moesaic.json` says about an artifact."""

    format_version: int = FORMAT_VERSION
    """Version of this format; only `FORMAT_VERSION` is accepted."""
    name: str
    """Name of the model, for people."""
    files: tuple[FileRecord, ...]
    """Every file of the artifact but the manifest, each once."""
    architecture: ArchitectureFacts
    """What the network is."""
    quantization: Quantization | None = None
    """How it was quantized, or None."""
    lineage: Lineage
    """Where it comes from."""
    licence: Licence
    """Terms of its base."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Measured figures by name, with the unit in the name."""
    canary: Canary | None = None
    """The check that a loaded model must pass, or None."""

    def _check(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise InputError(f"format_version must be {FORMAT_VERSION}, got {self.format_version}")

        names = [record.name for record in self.files]
        if repeated := _repeated(names):
            raise InputError(f"files must be named once each, got {repeated} more than once")

        if not names or not self.name.strip():
            raise InputError(f"a manifest needs a name and a file or more, got {self.name!r} and {len(names)} files")

        if self.licence.file is not None and self.licence.file not in names:
            raise InputError(f"the licence file {self.licence.file!r} must be among the files {sorted(names)}")

        if self.canary is not None and max(map(max, self.canary.sequences)) >= self.architecture.vocab_size:
            raise InputError(f"the canary's token ids must be below vocab_size ({self.architecture.vocab_size})")

        mixtures = {layer for layer, experts in enumerate(self.architecture.experts_per_layer) if experts}
        probed = {probe.layer for probe in self.canary.probes} if self.canary is not None else set()
        if not probed <= mixtures:
            raise InputError(f"the canary probes the layers {sorted(probed)}, but the mixtures are {sorted(mixtures)}")

    @property
    def digest(self) -> str:
        """Identity of the artifact: sha256 (hexadecimal) over the canonical JSON of all that the manifest says."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def to_text(self) -> str:
        """The text of `moesaic.json`: this manifest and its digest."""
        value = {"digest": self.digest, **self.to_json()}
        return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_text(cls, text: bytes) -> Self:
        """Read the text of `moesaic.json`.

        Raises:
            DamagedArtifactError: it is no JSON, or it was altered after it was written.
            ForeignArtifactError: another program or another version of Moesaic wrote it.
        """
        try:
            value = json.loads(text, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError too
            raise DamagedArtifactError(f"{MANIFEST_NAME} is truncated or altered ({error}); {_RESTORE}") from error

        version = value.get("format_version") if isinstance(value, dict) else None
        if type(version) is not int or version < 1 or "digest" not in value:
            raise ForeignArtifactError(
                f"{MANIFEST_NAME} is not a Moesaic manifest (format_version {reprlib.repr(version)}, expected "
                f"{FORMAT_VERSION}, with a digest); build the artifact with `moesaic model`"
            )

        if version > FORMAT_VERSION:
            raise ForeignArtifactError(
                f"{MANIFEST_NAME} has format_version {version}, this Moesaic reads {FORMAT_VERSION}; upgrade Moesaic"
            )

        recorded = value["digest"]
        manifest = cls.from_json({key: item for key, item in value.items() if key != "digest"})
        if manifest.digest != recorded:
            raise DamagedArtifactError(
                f"{MANIFEST_NAME} was altered: its content has the digest {manifest.digest}, it records "
                f"{reprlib.repr(recorded)}; {_RESTORE}"
            )

        return manifest


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := _repeated(key for key, _ in pairs):
        raise ValueError(f"the keys {repeated} occur more than once")

    return dict(pairs)
