"""A refresh as one TOML file: the training recipe that makes the new version, where versions are kept, and the gate.

[refresh]
registry = "build/registry"
recipe = "smol-dapt.toml"       # beside this file; it must name an [output] folder

[gate]
texts = { general = "held-out/general.txt", domain = "held-out/domain.txt" }
max_change = { general = 0.01, domain = -0.05 }
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moesaic.errors import RecipeError
from moesaic.training.recipe import Recipe, load_recipe
from moesaic.training.recipe_table import parsed_table, read_table, with_settings
from moesaic.training.refresh.gate import GateConfig

__all__ = ["RefreshConfig", "RefreshRecipe", "load_refresh_recipe"]


@dataclass(frozen=True, kw_only=True)
class RefreshConfig:
    """The `[refresh]` table."""

    registry: Path
    """Folder of the versions; the server that follows it serves them."""
    recipe: Path
    """Training recipe, from the folder of this file. The artifact that it ends with is the candidate: the rounded one
    if it asks for one."""
    settings: tuple[str, ...] = ()
    """Values of the recipe to change, as `key=value`."""
    wait_s: float = 600.0
    """How long a server may take to drain, to load the new version and to say so."""

    def __post_init__(self) -> None:
        """Refuse a wait that is none."""
        if not self.wait_s > 0:
            raise RecipeError(f"wait_s={self.wait_s!r} must be more than 0")


@dataclass(frozen=True, kw_only=True)
class _RefreshFile:
    """The file's tables."""

    refresh: RefreshConfig
    gate: GateConfig


@dataclass(frozen=True, kw_only=True)
class RefreshRecipe:
    """A refresh, with its training recipe read."""

    path: Path
    refresh: RefreshConfig
    gate: GateConfig
    training: Recipe


def load_refresh_recipe(path: Path, settings: Iterable[str] = ()) -> RefreshRecipe:
    """Read a refresh and its training recipe. `settings` change values of the refresh, as `key=value`.

    Raises:
        RecipeError: a file is missing or no TOML, has an unknown key, or contradicts itself.
    """
    file = parsed_table(_RefreshFile, with_settings(read_table(path), settings))
    training = load_recipe(path.parent / file.refresh.recipe, file.refresh.settings)
    if training.output.folder is None:
        raise RecipeError(f"{file.refresh.recipe} writes no artifact: give its [output] a folder")
    return RefreshRecipe(path=path, refresh=file.refresh, gate=file.gate, training=training)
