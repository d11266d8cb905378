"""A model artifact on disk, read only: opening it checks names and sizes, verifying it checks every byte.

- Opening costs a few file look-ups, so that each process can do it; verifying reads all the weights.
- A file that a loader would pick up, but that the manifest does not list, is refused too: a stray shard or an adapter
  configuration changes the model as surely as an altered byte does.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from moesaic.artifact.manifest import MANIFEST_NAME, FileRecord, Manifest
from moesaic.errors import DamagedArtifactError, ForeignArtifactError, InputError

__all__ = ["ModelArtifact", "Progress", "counted", "hash_file", "read_manifest"]

Progress = Callable[[str, int, int], None]
"""Told now and then of progress: the file at hand, the bytes done and the bytes in all, over all files together."""

_CHUNK_BYTES = 4 << 20
_MANIFEST_LIMIT_BYTES = 256 << 20

# What transformers, vLLM and peft pick up from a model folder without being asked.
_LOADED_SUFFIXES = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".npz", ".pkl", ".pickle"}
    | {".json", ".jinja", ".model", ".tiktoken", ".py"}
)
_LOADED_NAMES = frozenset({"vocab.txt", "merges.txt"})


@dataclass(frozen=True, kw_only=True)
class ModelArtifact:
    """A folder of model files with its manifest; `open` it, rather than building it from parts."""

    folder: Path
    """The folder, absolute and without symbolic links: a link that is turned elsewhere later does not move it."""
    manifest: Manifest
    """What the folder's `moesaic.json` said when it was opened."""

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Read the manifest, and check that each file is there with its size and that no other model file is.

        Contents are not hashed here; `verify` does that.

        Raises:
            InputError: there is no such folder.
            ForeignArtifactError: it has no manifest, or one of another program, format version or layout.
            DamagedArtifactError: a file is missing, truncated, unreadable, or a link that leaves the folder.
        """
        try:
            root = Path(folder).resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
            raise InputError(f"no model folder at {str(folder)!r} ({error}); give the path of an artifact") from error

        if not root.is_dir():
            raise InputError(
                f"{str(folder)!r} is not a folder; give the path of an artifact, a folder with {MANIFEST_NAME}"
            )

        artifact = cls(folder=root, manifest=read_manifest(root))
        artifact._refuse_strays()
        artifact._check_each(artifact._check_size)
        return artifact

    @property
    def digest(self) -> str:
        """Identity of the artifact: the digest of its manifest, which holds the digests of its files."""
        return self.manifest.digest

    def path(self, name: str) -> Path:
        """Path of a file that the manifest lists.

        Raises:
            InputError: it lists no such file.
        """
        names = [record.name for record in self.manifest.files]
        if name not in names:
            raise InputError(f"{name!r} is not a file of the artifact {self.folder}; its files are {names}")

        return self.folder / name

    def config(self) -> dict[str, Any]:
        """The model configuration, `config.json`, once its digest was checked.

        Raises:
            DamagedArtifactError: it is missing, altered, or not a JSON object.
        """
        records = [record for record in self.manifest.files if record.name == "config.json"]
        if not records:
            raise DamagedArtifactError(f"the artifact {self.folder} lists no config.json; build it again")

        self._verify_file(records[0], counted(None, 0))
        try:
            value = json.loads((self.folder / "config.json").read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedArtifactError(f"config.json in {self.folder} is unreadable ({error})") from error

        if not isinstance(value, dict):
            raise DamagedArtifactError(
                f"config.json in {self.folder} must be a JSON object, got {type(value).__name__}"
            )

        return value

    def verify(self, progress: Progress | None = None) -> None:
        """Hash every file and compare it with the manifest; all damaged files are named, not the first alone.

        Raises:
            DamagedArtifactError: a file differs from what the manifest says.
            ForeignArtifactError: a model file is there that the manifest does not list.
        """
        self._refuse_strays()
        advance = counted(progress, sum(record.bytes for record in self.manifest.files))
        self._check_each(lambda record: self._verify_file(record, advance))

    def _check_each(self, check: Callable[[FileRecord], None]) -> None:
        problems = []
        for record in self.manifest.files:
            try:
                check(record)
            except DamagedArtifactError as error:
                problems.append(str(error))

        if problems:
            raise DamagedArtifactError(
                f"{len(problems)} of {len(self.manifest.files)} files of {self.folder} are damaged: "
                f"{'; '.join(problems)}. Restore them from a copy, or build the artifact again"
            )

    def _check_size(self, record: FileRecord) -> None:
        size = _regular_file(self.folder, record.name).st_size
        if size != record.bytes:
            raise DamagedArtifactError(
                f"{record.name} has {size} bytes instead of {record.bytes}, it is truncated or altered"
            )

    def _verify_file(self, record: FileRecord, advance: Callable[[str, int], None]) -> None:
        self._check_size(record)
        try:
            _, digest = hash_file(self.folder / record.name, partial(advance, record.name))
        except OSError as error:
            raise DamagedArtifactError(f"{record.name} cannot be read ({error})") from error

        if digest != record.sha256:
            raise DamagedArtifactError(f"{record.name} was altered (sha256 {digest}, expected {record.sha256})")

    def _refuse_strays(self) -> None:
        listed = {record.name for record in self.manifest.files}
        if strays := sorted(name for name in _loaded_files(self.folder) if name not in listed):
            raise ForeignArtifactError(
                f"{self.folder} has files that a loader may pick up and that its {MANIFEST_NAME} does not list: "
                f"{strays}; move them elsewhere"
            )


def read_manifest(root: Path) -> Manifest:
    """Read `moesaic.json` of the resolved folder `root`; errors as in `ModelArtifact.open`."""
    if not os.path.lexists(root / MANIFEST_NAME):
        raise ForeignArtifactError(
            f"{root} is not a model artifact: it has no {MANIFEST_NAME}; `moesaic model --help` says how to make one"
        )

    try:
        size = _regular_file(root, MANIFEST_NAME).st_size
        if size > _MANIFEST_LIMIT_BYTES:
            raise ForeignArtifactError(f"{MANIFEST_NAME} has {size} bytes, allowed are up to {_MANIFEST_LIMIT_BYTES}")

        return Manifest.from_text((root / MANIFEST_NAME).read_bytes())
    except OSError as error:
        raise DamagedArtifactError(f"{root}: {MANIFEST_NAME} cannot be read ({error})") from error
    except (DamagedArtifactError, ForeignArtifactError) as error:
        raise type(error)(f"{root}: {error}") from error


def hash_file(path: Path, advance: Callable[[int], None], *, sync: bool = False) -> tuple[int, str]:
    """Size and sha256 of a file, read once in chunks; `sync` also sees it safely on the disk."""
    sha256 = hashlib.sha256()
    size = 0
    view = memoryview(bytearray(_CHUNK_BYTES))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(view):
            sha256.update(view[:count])
            size += count
            advance(count)

        if sync:
            os.fsync(stream.fileno())

    return size, sha256.hexdigest()


def counted(progress: Progress | None, total: int) -> Callable[[str, int], None]:
    """Make a function that adds up the bytes of all files and reports them to `progress`."""
    done = 0

    def advance(name: str, count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(name, done, total)

    return advance


def _regular_file(root: Path, name: str) -> os.stat_result:
    """Status of a file that must lie within `root`; a link within is followed, a pipe or device is never opened."""
    try:
        target = (root / name).resolve(strict=True)
        status = target.stat()
    except FileNotFoundError as error:
        raise DamagedArtifactError(f"{name} is missing") from error
    except (OSError, RuntimeError) as error:  # a RuntimeError is a loop of links
        raise DamagedArtifactError(f"{name} cannot be read ({error})") from error

    if not target.is_relative_to(root):
        raise DamagedArtifactError(
            f"{name} is a link to {target}, outside the artifact; put the file itself there (`cp -rL` does)"
        )

    if not stat.S_ISREG(status.st_mode):
        raise DamagedArtifactError(f"{name} is not a regular file")

    return status


def _loaded_files(root: Path) -> Iterator[str]:
    """Names of the files under `root` that a loader may pick up, and of linked folders, which may hold such files."""
    for folder, folders, files in os.walk(root):
        # Loaders pass over hidden files, and download tools keep their notes in them.
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(folder).relative_to(root)
        links = [name for name in folders if Path(folder, name).is_symlink()]
        loaded = [name for name in files if Path(name).suffix in _LOADED_SUFFIXES or name in _LOADED_NAMES]
        yield from (
            (below / name).as_posix()
            for name in (*links, *loaded)
            if not name.startswith(".") and (below / name) != Path(MANIFEST_NAME)
        )
