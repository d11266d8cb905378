"""`python -m benchmarks.sandbox`: what a program costs in the sandbox, beside what others offer, and whether it holds.

    python -m benchmarks.sandbox --json out.json
    python -m benchmarks.sandbox --quick                      fewer rounds, hostile programs as this user alone

Ways are run in turn, in one run, so that the machine's drift touches all of them. A warm run is one that finds a spare
child; `back to back` leaves no time to make new ones. The hostile programs are those of the tests.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.report import Report, ResultTable, command_line, describe_machine, describe_versions
from benchmarks.sandbox_claims import HostileRun, Rates, hostile_table, rate_table, sandbox_claims, way_table
from benchmarks.sandbox_forks import ForkLoop, fork_loop
from benchmarks.sandbox_ways import CONFIG, OURS, PROGRAM, VALUE, Way, missing_ways, opened_ways, run_in
from moesaic.server.engine.hardware import Machine
from moesaic.tools.sandbox import Sandbox

__all__ = ["cold_times", "main", "warm_times"]

_MODULE = "benchmarks.sandbox"
_ROOT = Path(__file__).parent.parent
_BATCH = 8
_WARM_UPS = 5
_ORDINARY_USER = 65534
_UNAVAILABLE = 3
_COLD = """
import sys, time
from moesaic.tools.sandbox import Sandbox, SandboxConfig
program = sys.stdin.read()
began = time.perf_counter()
with Sandbox(SandboxConfig(timeout_s=%r)) as sandbox:
    execution = sandbox.run(program)
    print(time.perf_counter() - began if execution.value == [*%r] else execution)
"""

Notice = Callable[[str], None]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when everything was measured, whether or not the claims hold."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    began = time.monotonic()

    def notice(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.0f} s[/dim]  {text}", highlight=False)

    described = describe_machine(Machine.detect())
    notice(f"{described['cpu']}, {described['threads']} threads, load average {described['load_average']}")
    missing = missing_ways()
    for name, needs in missing.items():
        notice(f"{name} is missing: {needs} is not installed")
    quick = options.quick
    with opened_ways() as ways:
        times = warm_times(ways, 40 if quick else 400, notice)
        times["moesaic, back to back"] = _back_to_back(ways[0], 40 if quick else 400)
        kinds = {way.name: way.kind for way in ways}
    rates, resident_mib = _rates(3 if quick else 9, 0.5 if quick else 1.5, notice)
    notice("cold starts")
    cold = cold_times(3 if quick else 15)
    hostile = [_hostile(tier, user, notice) for tier in _tiers() for user in _users(quick)]
    report = Report(
        machine=described,
        command=command_line(_MODULE, arguments),
        versions=describe_versions(),
        claims=tuple(sandbox_claims(times[OURS], rates, cold, hostile)),
        tables=_tables(times, kinds, missing, rates, resident_mib, hostile),
    )
    notice("done")
    report.show(Console(width=None if sys.stdout.isatty() else 160))
    if options.json:
        report.write(options.json)
        notice(f"written to {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description="Benchmark of the Python sandbox.")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--data", type=Path, help="taken for the sake of uniformity; this benchmark needs no data set")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, hostile programs as this user alone")
    return parser


def _tables(
    times: dict[str, list[float]],
    kinds: dict[str, str],
    missing: dict[str, str],
    rates: Rates,
    resident_mib: float,
    hostile: Sequence[HostileRun],
) -> dict[str, ResultTable]:
    return {
        "Ways to run a program": way_table(times, kinds, missing),
        "Throughput": rate_table(rates, resident_mib),
        "Hostile programs": hostile_table(hostile),
    }


def warm_times(ways: Sequence[Way], rounds: int, notice: Notice) -> dict[str, list[float]]:
    """Milliseconds of each way, round by round; the first rounds do not count.

    Raises:
        RuntimeError: a way answers something else than the program's value.
    """
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    for index in range(rounds + _WARM_UPS):
        if index % 100 == 0:
            notice(f"warm runs, round {index} of {rounds + _WARM_UPS}")
        for shift in range(len(ways)):
            way = ways[(index + shift) % len(ways)]
            began = time.perf_counter()
            value = way.run()
            took = 1000 * (time.perf_counter() - began)
            if value != VALUE:
                raise RuntimeError(f"{way.name} answered {value!r} instead of {VALUE!r}")
            if index >= _WARM_UPS:
                times[way.name].append(took)
        time.sleep(0.01)  # a spare child is made while nobody waits
    return times


def _back_to_back(ours: Way, runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        ours.run()
        times.append(1000 * (time.perf_counter() - began))
    return times


def _rates(rounds: int, seconds: float, notice: Notice) -> tuple[Rates, float]:
    """Forks and programs per second in the same rounds, and the MiB of the process that forks."""
    figures: list[tuple[float, float, float, float]] = []
    with fork_loop() as first, fork_loop() as second, Sandbox(CONFIG) as sandbox:

        def batch() -> None:
            values = [execution.value for execution in sandbox.run_batch([PROGRAM] * _BATCH)]
            if values != [VALUE] * _BATCH:
                raise RuntimeError(f"a batch answered {values}")

        for index in range(rounds + 1):
            notice(f"throughput, {'warm-up' if index == 0 else f'round {index} of {rounds}'}")
            one = _forked([first], seconds / 2)
            two = _forked([first, second], seconds / 2)
            single = _rate_of_two(lambda: run_in(sandbox), seconds)
            batched = _BATCH * _rate_of_two(batch, seconds)
            if index:
                figures.append((one, two, single, batched))
        resident_mib = first.resident_bytes / 2**20
    forks, forks_by_two, singles, batches = zip(*figures, strict=True)
    return Rates(forks=forks, forks_by_two=forks_by_two, single=singles, batched=batches), resident_mib


def _forked(loops: Sequence[ForkLoop], seconds: float) -> float:
    for loop in loops:
        loop.begin(seconds)
    return sum(loop.rate() for loop in loops)


def _rate_of_two(call: Callable[[], object], seconds: float) -> float:
    """Calls per second of two threads together; a call that fails fails the measurement."""
    counts: list[int] = []
    failures: list[BaseException] = []
    began = time.perf_counter()

    def work() -> None:
        count = 0
        try:
            while not count or time.perf_counter() - began < seconds:
                call()
                count += 1
        except Exception as error:
            failures.append(error)
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failures:
        raise failures[0]
    return sum(counts) / took


def cold_times(starts: int) -> list[float]:
    """Milliseconds from nothing to the first answer, attack self-test included, each in a new process.

    Raises:
        RuntimeError: the program did not answer what it should.
    """
    times = []
    for _ in range(starts):
        command = [sys.executable, "-c", _COLD % (CONFIG.timeout_s, VALUE)]
        done = subprocess.run(command, cwd=_ROOT, input=PROGRAM, capture_output=True, text=True, check=True)
        try:
            times.append(1000 * float(done.stdout))
        except ValueError:
            raise RuntimeError(f"a cold start gave {done.stdout!r}") from None
    return times


def _tiers() -> list[str]:
    return ["namespaces", "seccomp", *(["monty"] if importlib.util.find_spec("pydantic_monty") else [])]


def _users(quick: bool) -> list[int]:
    here = os.geteuid()
    return [here] if quick or here else [0, _ORDINARY_USER]


def _hostile(tier: str, user: int, notice: Notice) -> HostileRun:
    """The hostile programs in one tier, as one user."""
    notice(f"hostile programs: {tier}, {'root' if user == 0 else f'user {user}'}")
    command = [sys.executable, "-B", "-m", "tests.tools.sandbox.hostile_run", "--tier", tier, "--json"]
    command += ["--ordinary-user"] if user != os.geteuid() else []
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1, _UNAVAILABLE):
        raise RuntimeError(f"the hostile programs could not be run: {done.stderr[-2000:]}")
    outcome = json.loads(done.stdout.splitlines()[-1])
    for breach in outcome["breaches"]:
        notice(f"BREACH {breach}")
    programs = len(outcome["programs"])
    # Harm outside that nobody can be named for is laid to one more program.
    breached = len(set(outcome["breached"])) or min(1, len(outcome["breaches"]))
    return HostileRun(
        tier=tier,
        user="root" if user == 0 else str(user),
        programs=programs,
        contained=programs - breached,
        note=outcome["unavailable"][:80],
    )


if __name__ == "__main__":
    sys.exit(main())
