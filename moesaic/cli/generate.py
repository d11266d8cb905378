"""`moesaic generate`: text from an artifact, through the engine that would serve it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moesaic.server.engine.engine import Engine

__all__ = ["generate"]
