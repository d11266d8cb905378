"""CPU time of others, from the texts of /proc and from this process."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import foreign_load
from benchmarks.foreign_load import ForeignLoad, busy_seconds, process_seconds

TICKS = os.sysconf("SC_CLK_TCK")


def test_busy_time_leaves_out_idle_and_waiting_and_guests() -> None:
    busy, later = f"{1 * TICKS} {2 * TICKS} {3 * TICKS}", f"{4 * TICKS} {5 * TICKS} {6 * TICKS}"
    stat = f"cpu  {busy} 999999 888888 {later} 7777 6666\ncpu0 1 1"
    assert busy_seconds(stat) == pytest.approx(21.0)


def test_the_name_of_a_process_may_hold_anything() -> None:
    stat = f"42 (a b) c) S 1 42 42 0 -1 4194560 10 0 0 0 {3 * TICKS} {2 * TICKS} 0 0 20 0 1 0 5 6 7"
    assert process_seconds(stat) == pytest.approx(5.0)


def test_own_work_is_not_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock and a /proc by hand: on a busy machine nothing is the same when it is read twice.
    times, busy, own = [100.0], [50.0], {7: 5.0, 8: 1.0}

    class Proc:
        def __init__(self, path: str) -> None:
            self._path = path

        def read_text(self, encoding: str = "") -> str:
            if self._path == "/proc/stat":
                return f"cpu  {busy[0] * TICKS:.0f} 0 0 999 888 0 0 0\n"
            process = int(self._path.split("/")[2])
            return f"{process} (x) S 1 42 42 0 -1 0 0 0 0 0 {own[process] * TICKS:.0f} 0 0 0 20"

    monkeypatch.setattr(foreign_load, "Path", Proc)
    monkeypatch.setattr(foreign_load, "time", SimpleNamespace(monotonic=lambda: times[0]))
    ours, everybody = ForeignLoad([7, 8]), ForeignLoad([])
    times[0], busy[0], own[7], own[8] = 110.0, 63.0, 9.0, 4.0
    assert everybody.cores() == pytest.approx(1.3)
    assert ours.cores() == pytest.approx(0.6)
    own[8] = 40.0  # ticks are counted at other moments there than here
    assert ours.cores() == 0


def test_this_machine_counts_our_work() -> None:
    stat, own, first = Path("/proc/stat"), Path("/proc/self/stat"), time.process_time()
    before = busy_seconds(stat.read_text()), process_seconds(own.read_text())
    begun = time.process_time()  # what was worked between the two clocks counts in one of them alone
    while time.process_time() < begun + 0.5:  # CPU time: on a busy machine it takes its while
        sum(range(1000))
    worked, taken = process_seconds(own.read_text()) - before[1], time.process_time() - first
    assert 0.4 < worked < taken + 0.1
    # Others may have worked too, for as long as it pleases them.
    assert busy_seconds(stat.read_text()) - before[0] > 0.4
