"""`ServedModel`: what a server says about the model behind its engine."""

from dataclasses import dataclass
from typing import Self

from moesaic.artifact import ModelArtifact
from moesaic.errors import NotFoundError

__all__ = ["ServedModel"]


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """Names and facts; what the engine itself knows (context, vocabulary) is asked of it."""

    name: str
    """What clients call it."""
    weight_version: str
    """Digest that changes with any weight; every answer carries it."""
    architecture: str = ""
    """Such as GPTMoEForCausalLM."""
    quantization: str = ""
    """Scheme; empty if there is none."""
    parameters_total: int = 0
    """All parameters."""
    parameters_active: int = 0
    """Those that one token uses."""
    experts_per_layer: tuple[int, ...] = ()
    """0 for a dense layer."""
    licence: str = ""
    """Of the weights; empty if unknown."""

    @classmethod
    def of(cls, artifact: ModelArtifact, name: str | None = None) -> Self:
        """Facts of an artifact, under its own name unless another is given."""
        manifest = artifact.manifest
        facts = manifest.architecture
        return cls(
            name=name or manifest.name,
            weight_version=artifact.digest,
            architecture=facts.architecture,
            quantization="" if manifest.quantization is None else manifest.quantization.scheme,
            parameters_total=facts.parameters_total,
            parameters_active=facts.parameters_active,
            experts_per_layer=facts.experts_per_layer,
            licence=manifest.licence.name or "",
        )

    def require(self, asked: str) -> None:
        """Raise `NotFoundError` if a request names another model."""
        if asked not in ("", self.name):
            raise NotFoundError("model", asked[:80], f"this server serves {self.name!r}; leave `model` empty for it")
