"""Documentation packages of Debian as a corpus: downloaded through apt, unpacked into a folder, never installed.

Neither root nor the packages' dependencies are needed, and nothing outside of the folder changes. What was unpacked is
recorded with version and digest, so that a run can say what it was trained on.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from moesaic.errors import CorpusError, InputError, MissingDependencyError
from moesaic.training.data.durable import file_digest, made_folder, storage_errors, written_json

__all__ = ["RECORD_NAME", "FetchedPackage", "fetch_packages"]

RECORD_NAME = "packages.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?(?:=[A-Za-z0-9.+:~-]+)?")
_SHOWN_ERROR = 600


@dataclass(frozen=True, kw_only=True)
class FetchedPackage:
    """A package that was unpacked."""

    name: str
    version: str
    digest: str
    """SHA-256 of the .deb."""
    folder: str
    """Where its files are."""


def fetch_packages(
    packages: Sequence[str], folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[FetchedPackage]:
    """Download and unpack packages, each into a folder of its name below `folder`; those that are there stay.

    Args:
        packages: names, with `=VERSION` for a certain one; or paths of .deb files that are there already.
        folder: made if it is not there.
        progress: called with packages done and all.

    Raises:
        InputError: a name is none.
        MissingDependencyError: apt-get or dpkg-deb is not there: this is no Debian.
        CorpusError: a package cannot be downloaded or unpacked.
        StorageError: the folder may not be written.
    """
    folder = folder.absolute()  # the programs that are called run in a folder of their own
    for package in packages:
        if not _is_file(package) and (package.endswith(".deb") or not _NAME.fullmatch(package)):
            raise InputError(f"{package!r} is no name of a Debian package and no .deb file; give names such as git-doc")

    made_folder(folder)
    known = _recorded(folder)
    fetched = []
    for number, package in enumerate(packages, start=1):
        name = _folder_name(package)
        found = known.get(name)
        if found is None or not (folder / name).is_dir() or not _is_wanted(package, found):
            found = _fetched(package, folder, name)
            known[name] = found
            written_json(folder / RECORD_NAME, {key: asdict(each) for key, each in sorted(known.items())})
        fetched.append(found)
        if progress is not None:
            progress(number, len(packages))
    return fetched


def _fetched(package: str, folder: Path, name: str) -> FetchedPackage:
    with storage_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as temporary:
        place = Path(temporary)
        # apt drops its rights to those of another user, who has to be able to write here.
        place.chmod(0o777)
        if _is_file(package):
            archive = Path(package).absolute()
        else:
            _run(["apt-get", "download", "-q", package], place, f"download {package}")
            archives = sorted(place.glob("*.deb"))
            if len(archives) != 1:
                raise CorpusError(f"apt-get download {package} gave {len(archives)} files: name one package exactly")

            archive = archives[0]
        version = _run(["dpkg-deb", "-f", str(archive), "Version"], place, f"read {archive.name}").strip()
        _run(["dpkg-deb", "-x", str(archive), str(place / "files")], place, f"unpack {archive.name}")
        target = folder / name
        if target.exists():
            shutil.rmtree(target)
        (place / "files").rename(target)
        return FetchedPackage(name=name, version=version, digest=file_digest(archive), folder=str(target))


def _run(command: list[str], place: Path, purpose: str) -> str:
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as error:
        raise MissingDependencyError(
            f"{command[0]} is not there: fetching packages needs Debian or a relative of it; give files otherwise"
        ) from error

    if done.returncode:
        reason = " ".join(done.stderr.split())[-_SHOWN_ERROR:]
        raise CorpusError(
            f"cannot {purpose} ({command[0]} ended with {done.returncode}: {reason}): check the name, the network, and "
            "that apt-get update was run"
        )

    return done.stdout


def _recorded(folder: Path) -> dict[str, FetchedPackage]:
    path = folder / RECORD_NAME
    try:
        value = json.loads(path.read_bytes())
        return {name: FetchedPackage(**each) for name, each in value.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise CorpusError(f"{path} is damaged ({error}): remove it, and fetch again") from error


def _is_file(package: str) -> bool:
    return package.endswith(".deb") and Path(package).is_file()


def _folder_name(package: str) -> str:
    return Path(package).name.partition("_")[0] if _is_file(package) else re.split("[:=]", package)[0]


def _is_wanted(package: str, found: FetchedPackage) -> bool:
    if _is_file(package):
        return file_digest(Path(package)) == found.digest

    _, given, version = package.partition("=")
    return not given or version == found.version
