"""`ModelRegistry`: the versions of one served model, which of them is served, and everything that happened to them.

    REGISTRY/
      registry.json         says that this is a registry, and of which format
      versions/0f3a…/       artifacts, each under the first digits of its digest
      current               a link to the version that is served
      history.jsonl         one event per line: published, served, refused, rolled back

Training publishes here, a server follows `current`; neither knows the other. The link is turned by one rename, so a
reader finds the former version or the next one, never none. Events are written before the link turns: what is served
has always been announced.
"""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from moesaic.artifact.folder import ModelArtifact
from moesaic.artifact.staging import sync_folder
from moesaic.errors import DamagedArtifactError, ForeignArtifactError, InputError, NotFoundError, StorageError

__all__ = ["ModelRegistry", "RegistryEvent", "RegistryVerb"]

_FORMAT = 1
_MARK, _VERSIONS, _CURRENT, _HISTORY = "registry.json", "versions", "current", "history.jsonl"
_DIGITS = 16
"""Hexadecimal digits of a digest that name a version."""


class RegistryVerb(StrEnum):
    """What can happen to a version."""

    PUBLISHED = "published"
    """It was added, and is the one to serve."""
    REFUSED = "refused"
    """It did not pass: by the gate before it was published, or by the server that tried to load it."""
    SERVED = "served"
    """A server has loaded it."""
    ROLLED_BACK = "rolled back"
    """Somebody chose it again, in place of a later one."""


@dataclass(frozen=True, kw_only=True)
class RegistryEvent:
    """One line of the history."""

    time: str
    """When, in UTC, to the second."""
    verb: RegistryVerb
    """What happened."""
    version: str
    """To which version."""
    former: str | None = None
    """The version that was current before."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Whatever else is known: the recipe, figures of the gate, a reason."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "time": self.time,
            "verb": self.verb.value,
            "version": self.version,
            "former": self.former,
            "facts": self.facts,
        }


class ModelRegistry:
    """A folder of versions. `open` or `create` it.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make an empty registry, or open the one that is there.

        Raises:
            InputError: there is something else.
            StorageError: the disk is full or may not be written.
        """
        if cls.is_registry(folder):
            return cls.open(folder)
        with _storage_errors(folder):
            if folder.exists() and any(folder.iterdir()):
                raise InputError(f"{folder} is no registry and not empty; give an empty or a new folder")
            (folder / _VERSIONS).mkdir(parents=True, exist_ok=True)
            _replaced(folder / _MARK, json.dumps({"format": _FORMAT}) + "\n")
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a registry.

        Raises:
            ForeignArtifactError: the folder holds none, or one of another format.
        """
        try:
            mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ForeignArtifactError(
                f"{folder} is no model registry ({_MARK}: {error}); `moesaic model publish` makes one"
            ) from error
        found = mark.get("format") if isinstance(mark, dict) else None
        if found != _FORMAT:
            raise ForeignArtifactError(f"{folder} is a registry of format {found!r}; this Moesaic reads {_FORMAT}")
        return cls(folder.resolve())

    @staticmethod
    def is_registry(folder: Path) -> bool:
        """Whether the folder claims to be a registry."""
        return (folder / _MARK).is_file()

    @property
    def current(self) -> str | None:
        """The version to serve; None while there is none."""
        try:
            return os.readlink(self.folder / _CURRENT).rpartition("/")[2]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedArtifactError(f"{self.folder / _CURRENT} is no link ({error}); remove it") from error

    @property
    def versions(self) -> list[str]:
        """All versions, by name."""
        return sorted(path.name for path in (self.folder / _VERSIONS).iterdir() if not path.name.startswith("."))

    def artifact(self, version: str | None = None) -> ModelArtifact:
        """Open a version, by default the current one; a beginning of its name is enough.

        Raises:
            NotFoundError: there is no such version.
            ArtifactError: it is damaged.
        """
        wanted = self.resolve(version) if version is not None else self.current
        if wanted is None:
            raise NotFoundError("version", "current", f"{self.folder} is empty; publish an artifact first")
        return ModelArtifact.open(self.folder / _VERSIONS / wanted)

    def resolve(self, beginning: str) -> str:
        """The one version whose name begins so; raises `NotFoundError` if there is none, or more than one."""
        found = [version for version in self.versions if beginning and version.startswith(beginning)]
        if len(found) != 1:
            held = ", ".join(self.versions) or "none"
            raise NotFoundError("version", beginning, f"{len(found)} versions begin so; the registry holds {held}")
        return found[0]

    def publish(self, artifact: ModelArtifact, **facts: Any) -> str:
        """Copy an artifact in, verify the copy byte by byte, and make it the one to serve; gives its version.

        Raises:
            ArtifactError: it is damaged.
            StorageError: the disk is full or may not be written.
        """
        version = self.add(artifact)
        self._turn(version, RegistryVerb.PUBLISHED, facts | {"name": artifact.manifest.name})
        return version

    def add(self, artifact: ModelArtifact) -> str:
        """Copy an artifact in without making it the one to serve; errors as of `publish`."""
        version = artifact.digest.removeprefix("sha256:")[:_DIGITS]
        target = self.folder / _VERSIONS / version
        if target.exists():
            ModelArtifact.open(target).verify()
            return version
        draft = target.with_name(f".{version}-{secrets.token_hex(4)}")
        with _storage_errors(draft):
            try:
                shutil.copytree(artifact.folder, draft)
                ModelArtifact.open(draft).verify()
                sync_folder(draft)
                os.rename(draft, target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return version

    def rollback(self, version: str | None = None, **facts: Any) -> str:
        """Serve an earlier version again: the one named, or the one that was current before.

        Raises:
            NotFoundError: there is no such version, or none before.
            ArtifactError: it is damaged.
        """
        wanted = self.resolve(version) if version is not None else self._before()
        ModelArtifact.open(self.folder / _VERSIONS / wanted).verify()
        self._turn(wanted, RegistryVerb.ROLLED_BACK, facts)
        return wanted

    def refuse(self, version: str, *, back_to: str | None, reason: str, **facts: Any) -> None:
        """Note that a version did not pass; if it is current, turn back to another."""
        with self._locked():
            self._note(RegistryVerb.REFUSED, version, self.current, facts | {"reason": reason})
            if back_to is not None and self.current == version:
                self._link(back_to)

    def note_served(self, version: str, **facts: Any) -> None:
        """Note that a server has loaded a version."""
        with self._locked():
            self._note(RegistryVerb.SERVED, version, None, facts)

    def history(self) -> list[RegistryEvent]:
        """All events, oldest first.

        Raises:
            DamagedArtifactError: a line is no event. A last line without an end is one that was never written whole.
        """
        path = self.folder / _HISTORY
        if not path.exists():
            return []
        # A line that is being written, or was never written whole, may end within a character.
        lines = path.read_bytes().split(b"\n")[:-1]
        events = []
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line)
                events.append(RegistryEvent(**(value | {"verb": RegistryVerb(value["verb"])})))
            except (ValueError, TypeError, KeyError) as error:
                raise DamagedArtifactError(f"{path}, line {number} is no event ({error}); restore it") from error
        return events

    def _before(self) -> str:
        """The version that was current before the current one became so."""
        for event in reversed(self.history()):
            turned = event.verb in (RegistryVerb.PUBLISHED, RegistryVerb.ROLLED_BACK)
            if turned and event.version == self.current and event.former in self.versions:
                assert event.former is not None
                return event.former
        raise NotFoundError("version", "former", f"{self.folder} has none before the current one; name a version")

    def _turn(self, version: str, verb: RegistryVerb, facts: dict[str, Any]) -> None:
        with self._locked():
            former = self.current
            self._note(verb, version, former if former != version else None, facts)
            self._link(version)

    def _link(self, version: str) -> None:
        draft = self.folder / f".{_CURRENT}-{secrets.token_hex(4)}"
        with _storage_errors(draft):
            draft.symlink_to(f"{_VERSIONS}/{version}")
            os.replace(draft, self.folder / _CURRENT)
            sync_folder(self.folder)

    def _note(self, verb: RegistryVerb, version: str, former: str | None, facts: dict[str, Any]) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = RegistryEvent(time=now, verb=verb, version=version, former=former, facts=facts)
        path = self.folder / _HISTORY
        with _storage_errors(path), path.open("ab+") as stream:
            _drop_torn_line(stream)
            stream.write(json.dumps(event.to_json(), ensure_ascii=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Write as the only one."""
        with _storage_errors(self.folder), (self.folder / _MARK).open("rb") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            yield


def _drop_torn_line(stream: Any) -> None:
    """Cut off a last line that a killed process did not finish."""
    stream.seek(0)
    content = stream.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        stream.truncate(whole)


def _replaced(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}); free space or allow writing") from error
