"""CPU time of others, from the texts of /proc and from this process."""

import os
import time

import pytest

from benchmarks.foreign_load import ForeignLoad, busy_seconds, process_seconds

TICKS = os.sysconf("SC_CLK_TCK")


def test_busy_time_leaves_out_idle_and_waiting_and_guests() -> None:
    busy, later = f"{1 * TICKS} {2 * TICKS} {3 * TICKS}", f"{4 * TICKS} {5 * TICKS} {6 * TICKS}"
    stat = f"cpu  {busy} 999999 888888 {later} 7777 6666\ncpu0 1 1"
    assert busy_seconds(stat) == pytest.approx(21.0)


def test_the_name_of_a_process_may_hold_anything() -> None:
    stat = f"42 (a b) c) S 1 42 42 0 -1 4194560 10 0 0 0 {3 * TICKS} {2 * TICKS} 0 0 20 0 1 0 5 6 7"
    assert process_seconds(stat) == pytest.approx(5.0)


def test_own_work_is_not_foreign() -> None:
    own, foreign = ForeignLoad([os.getpid()]), ForeignLoad([])
    start, begun = time.monotonic(), time.process_time()
    while time.process_time() < begun + 0.5:  # CPU time: on a busy machine it takes its while
        sum(range(1000))
    worked = 0.5 / (time.monotonic() - start)
    assert foreign.cores() - own.cores() == pytest.approx(worked, rel=0.2)
