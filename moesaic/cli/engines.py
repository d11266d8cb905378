"""Which engine a command runs an artifact with."""

from typing import TYPE_CHECKING

from moesaic.artifact import ModelArtifact
from moesaic.errors import InputError

if TYPE_CHECKING:
    from moesaic.server.engine import Engine, VllmSettings

__all__ = ["chosen_engine"]

_ENGINES = ("auto", "vllm", "transformers")


def chosen_engine(artifact: ModelArtifact, name: str, settings: "VllmSettings") -> "Engine":
    """The engine of that name; `auto` takes vLLM where it is installed.

    Raises `InputError` for an unknown name.
    """
    from moesaic.server.engine import TransformersEngine, TransformersSettings, VllmEngine
    from moesaic.server.engine.hardware import Machine

    if name not in _ENGINES:
        raise InputError(f"engine={name!r} is unknown: choose one of {', '.join(_ENGINES)}")
    machine = Machine.detect()
    if name == "vllm" or (name == "auto" and machine.vllm_target is not None):
        return VllmEngine(artifact, settings, machine=machine)
    return TransformersEngine(artifact, TransformersSettings(dtype=settings.dtype))
