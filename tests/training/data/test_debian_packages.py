"""Packages are downloaded through apt and unpacked, never installed; what is there is not fetched again."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from moesaic.errors import CorpusError, InputError, MissingDependencyError
from moesaic.training.data.debian_packages import RECORD_NAME, fetch_packages

APT = """#!/bin/sh
# Stands for apt-get: gives the packages of a folder, and notes every call.
echo "$@" >> "{log}"
for last; do :; done
cp "{archives}/${{last%%=*}}"_*.deb . 2>/dev/null || {{ echo "E: Unable to locate package $last" >&2; exit 100; }}
"""


def build(folder: Path, name: str, version: str, *texts: str) -> Path:
    """A .deb with pages of documentation."""
    tree = folder / f"{name}-tree"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN").chmod(0o755)  # dpkg-deb wants it so, whatever the umask is
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.com>\nDescription: docs\n"
    )
    pages = tree / f"usr/share/doc/{name}"
    pages.mkdir(parents=True)
    for number, text in enumerate(texts):
        (pages / f"page{number or ''}.txt").write_text(text)
    target = folder / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, target], check=True, capture_output=True)
    return target


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that the fake apt-get on PATH knows."""
    folder, programs = tmp_path / "archives", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (programs / "apt-get").write_text(APT.format(log=tmp_path / "calls", archives=folder))
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    build(folder, "foo-doc", "1.2-3", "Foo.")
    build(folder, "bar-doc", "2:4+x", "吧。")
    return folder


def calls(archives: Path) -> list[str]:
    return (archives.parent / "calls").read_text().splitlines()


def test_packages_are_unpacked_beside_each_other(archives: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    target = tmp_path / "out"
    found = fetch_packages(["foo-doc", "bar-doc=2:4+x"], target, progress=lambda *done: told.append(done))
    assert [(package.name, package.version) for package in found] == [("foo-doc", "1.2-3"), ("bar-doc", "2:4+x")]
    assert (target / "foo-doc/usr/share/doc/foo-doc/page.txt").read_text() == "Foo."
    assert (target / "bar-doc/usr/share/doc/bar-doc/page.txt").read_text() == "吧。"
    assert calls(archives) == ["download -q foo-doc", "download -q bar-doc=2:4+x"]
    assert told == [(1, 2), (2, 2)]
    assert sorted(path.name for path in target.iterdir()) == ["bar-doc", "foo-doc", RECORD_NAME]
    assert json.loads((target / RECORD_NAME).read_text())["foo-doc"]["digest"] == found[0].digest


def test_what_is_there_is_not_fetched_again(archives: Path, tmp_path: Path) -> None:
    first = fetch_packages(["foo-doc"], tmp_path / "out")
    assert fetch_packages(["foo-doc", "foo-doc=1.2-3"], tmp_path / "out") == [*first, *first]
    assert len(calls(archives)) == 1
    (archives / "foo-doc_1.2-3_all.deb").unlink()
    build(archives, "foo-doc", "1.3", "New.")
    assert fetch_packages(["foo-doc=1.3"], tmp_path / "out")[0].version == "1.3"
    assert (tmp_path / "out/foo-doc/usr/share/doc/foo-doc/page.txt").read_text() == "New."
    shutil.rmtree(tmp_path / "out/foo-doc")
    fetch_packages(["foo-doc"], tmp_path / "out")
    assert (tmp_path / "out/foo-doc").is_dir()


def test_an_archive_that_is_there_needs_no_apt(archives: Path, tmp_path: Path) -> None:
    [found] = fetch_packages([str(archives / "foo-doc_1.2-3_all.deb")], tmp_path / "out")
    assert found.name == "foo-doc"
    assert not (tmp_path / "calls").exists()


def test_failures_are_told_and_leave_nothing(archives: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"cannot download no-doc .*Unable to locate package no-doc"):
        fetch_packages(["no-doc"], tmp_path / "out")
    damaged = archives / "foo-doc_1.2-3_all.deb"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(CorpusError, match=r"cannot read foo-doc_1.2-3_all.deb"):
        fetch_packages(["foo-doc"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["", "-o=Dir=/", "../x", "UPPER", "a b", "gone.deb", "x;rm"])
def test_names_that_are_none_are_refused(archives: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no name of a Debian package"):
        fetch_packages([name], tmp_path / "out")
    assert not (tmp_path / "calls").exists()


def test_elsewhere_than_on_debian_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="apt-get is not there"):
        fetch_packages(["foo-doc"], tmp_path / "out")


def test_a_damaged_record_is_named(archives: Path, tmp_path: Path) -> None:
    (tmp_path / RECORD_NAME).write_text("{")
    with pytest.raises(CorpusError, match=r"packages.json is damaged"):
        fetch_packages(["foo-doc"], tmp_path)


def test_the_target_may_be_relative(archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fetch_packages(["foo-doc"], Path("out"))
    fetch_packages([str(archives / "bar-doc_2:4+x_all.deb")], Path("out"))
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"foo-doc", "bar-doc"}
