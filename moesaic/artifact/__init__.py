"""A model artifact: one folder of weights, tokenizer and configuration, with a manifest that vouches for every byte.

It is the contract between training and serving, and it loads no torch: it stores and compares, it never computes.

- `ModelArtifact` opens a folder, refuses what is damaged or foreign, and verifies digests.
- `ArtifactWriter` builds a folder beside its target and publishes it in one step, or leaves no trace.
- `ModelRegistry` holds the versions of one model: what is served now, and what was before.
- `Manifest` and its records are what `moesaic.json` says; `Canary` is what loaded weights must reproduce.
"""

from moesaic.artifact.canary import Canary, ExpertProbe
from moesaic.artifact.folder import ModelArtifact, Progress
from moesaic.artifact.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    ArchitectureFacts,
    FileRecord,
    Licence,
    Lineage,
    Manifest,
    Quantization,
)
from moesaic.artifact.record import Option
from moesaic.artifact.registry import ModelRegistry, RegistryEvent, RegistryVerb
from moesaic.artifact.writer import ArtifactWriter, update_manifest

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "ArchitectureFacts",
    "ArtifactWriter",
    "Canary",
    "ExpertProbe",
    "FileRecord",
    "Licence",
    "Lineage",
    "Manifest",
    "ModelArtifact",
    "ModelRegistry",
    "Option",
    "Progress",
    "Quantization",
    "RegistryEvent",
    "RegistryVerb",
    "update_manifest",
]
