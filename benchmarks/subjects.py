"""The models that the engine benchmark compares: one base, dense and upcycled, in full precision and quantized.

Made with the conversions that users run, and kept in a folder, so that an interrupted benchmark goes on where it was.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import moesaic
from moesaic.artifact import ModelArtifact
from moesaic.errors import MoesaicError
from moesaic.model import conversion
from moesaic.model.quantized import Scheme
from moesaic.model.upcycling import UpcycleOptions

__all__ = [
    "DENSE",
    "DENSE_INT8",
    "MOE",
    "MOE_INT8",
    "MOE_INT8_EXPERTS",
    "PERTURBED",
    "PERTURBED_BF16",
    "PERTURBED_INT8",
    "SERVED",
    "make_subjects",
    "weight_bytes",
]

DENSE = "dense bf16"
DENSE_INT8 = "dense int8"
MOE = "MoE bf16"
MOE_INT8 = "MoE int8"
MOE_INT8_EXPERTS = "MoE int8-experts"
PERTURBED = "perturbed MoE fp32"
PERTURBED_BF16 = "perturbed MoE bf16"
PERTURBED_INT8 = "perturbed MoE int8"

SERVED = (DENSE, DENSE_INT8, MOE, MOE_INT8, MOE_INT8_EXPERTS)
"""What is measured in an engine; the perturbed models serve to plant faults in."""

Progress = Callable[[str, int, int], None]

_UPCYCLING = UpcycleOptions(experts=4, experts_last=8)
# Experts that differ, and branches of equal weight: otherwise a wrong expert would change nothing.
_PERTURBING = UpcycleOptions(experts=4, experts_last=8, noise=0.5, coefficient_bias=0.0)


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """How one subject is made; the first that needs another comes after it."""

    name: str
    folder: str
    operation: str
    parent: str | None = None
    upcycling: UpcycleOptions | None = None
    scheme: Scheme | None = None
    dtype: str = "bfloat16"


_RECIPES = (
    _Recipe(name=DENSE, folder="dense", operation="pack"),
    _Recipe(name=MOE, folder="moe", operation="upcycle", upcycling=_UPCYCLING),
    _Recipe(name=DENSE_INT8, folder="dense-int8", operation="quantize", parent=DENSE, scheme=Scheme.INT8),
    _Recipe(name=MOE_INT8, folder="moe-int8", operation="quantize", parent=MOE, scheme=Scheme.INT8),
    _Recipe(
        name=MOE_INT8_EXPERTS, folder="moe-int8-experts", operation="quantize", parent=MOE, scheme=Scheme.INT8_EXPERTS
    ),
    _Recipe(name=PERTURBED, folder="perturbed", operation="upcycle", upcycling=_PERTURBING, dtype="float32"),
    # The engine serves int8 of a bf16 model as it is, and of an fp32 model as a copy, in which no fault would be seen.
    _Recipe(name=PERTURBED_BF16, folder="perturbed-bf16", operation="upcycle", upcycling=_PERTURBING),
    _Recipe(
        name=PERTURBED_INT8, folder="perturbed-int8", operation="quantize", parent=PERTURBED_BF16, scheme=Scheme.INT8
    ),
)


def make_subjects(base: str, work: Path, progress: Progress) -> dict[str, ModelArtifact]:
    """All subjects by name; those that lie in `work` already, made in the same way, are taken as they are.

    Args:
        base: the dense model, as `open_base` takes it.
        work: folder of the artifacts.
        progress: told the subject and the number of those done.
    """
    made: dict[str, ModelArtifact] = {}
    for done, recipe in enumerate(_RECIPES):
        progress(recipe.name, done, len(_RECIPES))
        target = work / recipe.folder
        made[recipe.name] = _existing(recipe, base, target, made) or _make(recipe, base, target, made)
    progress("models made", len(_RECIPES), len(_RECIPES))
    return made


def weight_bytes(artifact: ModelArtifact) -> int:
    """Size of the weight files."""
    return sum(record.bytes for record in artifact.manifest.files if record.name.endswith(".safetensors"))


def _existing(recipe: _Recipe, base: str, target: Path, made: dict[str, ModelArtifact]) -> ModelArtifact | None:
    """The subject as it lies there, if it was made by this recipe, from this base, by this version."""
    try:
        artifact = ModelArtifact.open(target)
    except MoesaicError:  # nothing there, cut off, or of another version: made anew
        return None

    lineage = artifact.manifest.lineage
    parent = made[recipe.parent].digest if recipe.parent else None
    wanted = (recipe.operation, base, parent, _options(recipe), moesaic.__version__)
    found = (lineage.operation, lineage.base, lineage.parent, dict(lineage.options), lineage.moesaic_version)
    return artifact if found == wanted else None


def _options(recipe: _Recipe) -> dict[str, object]:
    """What the lineage of this subject says about it."""
    if recipe.scheme is not None:
        return {"scheme": recipe.scheme.value}
    upcycling = {} if recipe.upcycling is None else asdict(recipe.upcycling)
    return upcycling | {"dtype": recipe.dtype}


def _make(recipe: _Recipe, base: str, target: Path, made: dict[str, ModelArtifact]) -> ModelArtifact:
    if recipe.scheme is not None and recipe.parent is not None:
        return conversion.quantize(made[recipe.parent].folder, target, recipe.scheme, overwrite=True)
    if recipe.upcycling is not None:
        return conversion.upcycle(base, target, recipe.upcycling, dtype=recipe.dtype, overwrite=True)
    return conversion.pack(base, target, dtype=recipe.dtype, overwrite=True)
