"""Several writers and readers of one artifact at once."""

import threading
from pathlib import Path

import pytest

from moesaic.artifact import MANIFEST_NAME, ModelArtifact
from moesaic.artifact import staging as staging_module
from moesaic.errors import InputError
from tests.artifact.builders import FILES, NEW_FILES, build, names, run_python


def test_the_first_of_two_writers_wins(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(InputError, match="exists already"):
        build(target, NEW_FILES, prepare=lambda _: build(target))

    ModelArtifact.open(target).verify()
    assert (target / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert names(tmp_path) == ["model"]


def test_the_last_of_two_overwriting_writers_wins(tmp_path: Path) -> None:
    target = tmp_path / "model"
    build(target, overwrite=True, prepare=lambda _: build(target, NEW_FILES, overwrite=True)).verify()
    assert (target / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert names(tmp_path) == ["model"]


def test_a_target_that_vanishes_before_the_exchange_is_simply_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = build(tmp_path / "model")
    exchange = staging_module._exchange

    def vanish(first: Path, second: Path) -> bool:
        if (tmp_path / "away").exists():
            return exchange(first, second)

        old.folder.rename(tmp_path / "away")
        return exchange(first, second)

    monkeypatch.setattr(staging_module, "_exchange", vanish)
    build(tmp_path / "model", NEW_FILES, overwrite=True).verify()
    assert names(tmp_path) == ["away", "model"]


RACE = """if True:
    import sys
    from pathlib import Path
    from moesaic.artifact import ArtifactWriter
    from moesaic.errors import InputError
    from tests.artifact.builders import FACTS, FILES, fill
    target, overwrite, number = Path(sys.argv[1]), sys.argv[2] == "True", sys.argv[3]
    try:
        with ArtifactWriter(target, overwrite=overwrite) as writer:
            fill(writer.folder, {**FILES, "model.safetensors": number.encode() * 100})
            print("ready", flush=True)
            sys.stdin.readline()
            writer.commit(**FACTS)
        print("won")
    except InputError:
        print("lost")
"""


@pytest.mark.parametrize("overwrite", [False, True])
def test_processes_that_commit_at_once(tmp_path: Path, overwrite: bool) -> None:
    target = tmp_path / "model"
    processes = [run_python(RACE, target, overwrite, number) for number in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    results = [process.communicate(timeout=240)[0].strip() for process in processes]
    assert sorted(results) == (["won"] * 4 if overwrite else ["lost"] * 3 + ["won"])
    ModelArtifact.open(target).verify()
    weights = (target / "model.safetensors").read_text()
    assert overwrite or weights == str(results.index("won")) * 100
    assert names(tmp_path) == ["model"]


def test_readers_find_an_artifact_at_every_moment_of_an_overwrite(tmp_path: Path) -> None:
    manifest = build(tmp_path / "model").folder / MANIFEST_NAME
    done = threading.Event()
    missing: list[Exception] = []

    def read() -> None:
        while not done.is_set():
            try:
                manifest.read_bytes()
            except FileNotFoundError as error:
                missing.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            build(tmp_path / "model", NEW_FILES, overwrite=True)
    finally:
        done.set()
        reader.join()

    assert missing == []
