"""`python -m tests.tools.sandbox.hostile_run`: the hostile programs in one tier, and what became of them.

    python -m tests.tools.sandbox.hostile_run --tier namespaces
    python -m tests.tools.sandbox.hostile_run --tier seccomp --ordinary-user --only 14,15 --json

It is a process of its own, because it makes itself a target (canaries in its memory, its environment and its folder)
and may have to become another user. Exit status 0: everything was contained; 1: it was not, and it says what; 3: the
tier is not to be had here, and it says why.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial

from moesaic.errors import InputError, MoesaicError
from moesaic.tools.sandbox import ExecutionStatus, Sandbox, SandboxConfig, Tier
from tests.tools.sandbox.host_canaries import HostCanaries
from tests.tools.sandbox.hostile_program import USUAL_TIMEOUT_S, HostileProgram, hostile_programs
from tests.tools.sandbox.judgement import Ruling, breaches_of, flaws_of_refusal
from tests.tools.sandbox.lesser_kernel import forgo_landlock
from tests.tools.sandbox.ordinary_user import run_as_ordinary_user
from tests.tools.sandbox.processes import eventually, open_descriptors

__all__ = ["Outcome", "main", "run_programs"]

UNAVAILABLE = 3
"""Exit status where the tier is not to be had."""

_OUTPUT_BYTES = 64 << 10
_TIMEOUT_S = 600.0
_CONTROL = "total = sum(range(10))\n\ndef solution():\n    return {'total': total, '词': 1 + 1, 'seven': 3 + 4}\n"
_CONTROL_VALUE = {"total": 45, "词": 2, "seven": 7}


@dataclass
class Outcome:
    """What became of the set, as plain data."""

    tier: str
    user: int
    programs: dict[str, list[str]] = field(default_factory=dict)
    """How the runs of each program ended."""
    breaches: list[str] = field(default_factory=list)
    """Everything that was not contained; nothing, if all is well."""
    breached: list[str] = field(default_factory=list)
    """Programs that a breach can be laid to."""
    unavailable: str = ""
    """Why the tier cannot be had here, if so."""
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and say by the exit status how it went."""
    parser = argparse.ArgumentParser(description="Run the hostile programs in one tier of the sandbox.")
    parser.add_argument("--tier", type=Tier, choices=list(Tier), required=True, help="namespaces, seccomp or monty")
    parser.add_argument("--ordinary-user", action="store_true", help="have an ordinary user run them")
    parser.add_argument("--without-landlock", action="store_true", help="as on a kernel that lacks it")
    parser.add_argument("--only", help="numbers of programs, with commas")
    parser.add_argument("--at-once", type=int, default=6, help="programs that run beside each other")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    given = parser.parse_args(arguments)
    if given.ordinary_user and os.geteuid() == 0:
        return _handed_on(list(sys.argv[1:] if arguments is None else arguments))
    if given.without_landlock:
        forgo_landlock()
    chosen = [program for program in hostile_programs() if not given.only or _among(program, given.only)]
    outcome = run_programs(chosen, given.tier, at_once=given.at_once)
    _show(outcome, as_json=given.json)
    return UNAVAILABLE if outcome.unavailable else int(bool(outcome.breaches))


def _handed_on(arguments: list[str]) -> int:
    """The same in a process of an ordinary user."""
    code = f"from tests.tools.sandbox.hostile_run import main\nraise SystemExit(main({arguments!r}))"
    done = run_as_ordinary_user(code, timeout_s=_TIMEOUT_S)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def run_programs(programs: Sequence[HostileProgram], tier: Tier, *, at_once: int) -> Outcome:
    """Run programs in a sandbox of this tier amid canaries."""
    outcome = Outcome(tier=tier.value, user=os.getuid())
    began = time.monotonic()
    with HostCanaries() as canaries:
        config = SandboxConfig(
            tier=tier,
            timeout_s=USUAL_TIMEOUT_S,
            output_bytes=_OUTPUT_BYTES,
            concurrency=2 * at_once,
            queue_timeout_s=60.0,
            heartbeat_s=60.0,
        )
        try:
            Sandbox(config).start().close()  # what a process opens once and for all is open now
        except MoesaicError as error:
            outcome.unavailable = str(error)
            return outcome
        before = open_descriptors()
        with Sandbox(config) as sandbox:
            with ThreadPoolExecutor(at_once) as executor:
                # The longest first, so that none of them begins when everything else is over.
                ordered = sorted(programs, key=lambda program: -(program.limit("Timeout") or 0))
                for finished in executor.map(partial(_contain, sandbox, canaries, config), ordered):
                    name, statuses, breaches = finished
                    outcome.programs[name] = statuses
                    outcome.breaches += [f"{name}: {breach}" for breach in breaches]
                    outcome.breached += [name] if breaches else []
            outcome.breaches += canaries.harm()
        outcome.breaches += canaries.orphans()
        eventually(lambda: open_descriptors() <= before)
        if (left := open_descriptors() - before) > 0:
            outcome.breaches.append(f"the closed sandbox leaves {left} descriptors open in its caller")
    outcome.seconds = time.monotonic() - began
    return outcome


def _contain(
    sandbox: Sandbox, canaries: HostCanaries, config: SandboxConfig, program: HostileProgram
) -> tuple[str, list[str], list[str]]:
    text = program.filled(canaries.names(program.number))
    statuses: list[str] = []
    breaches: list[str] = []

    def once(_: int) -> None:
        status, found = _judged(sandbox, canaries, config, program, text)
        statuses.append(status)
        breaches.extend(found)

    for rank in range(int(program.limit("Times") or 1)):
        once(rank)
    if together := int(program.limit("At once") or 0):
        with ThreadPoolExecutor(together) as executor:
            list(executor.map(once, range(together - 1)))
    control = sandbox.run(_CONTROL)
    if control.status is not ExecutionStatus.OK or control.value != _CONTROL_VALUE:
        breaches.append(f"a sound program after it gave {control.status.value}, {control.value!r}, {control.error}")
    return program.name, statuses, breaches


def _judged(
    sandbox: Sandbox, canaries: HostCanaries, config: SandboxConfig, program: HostileProgram, text: str
) -> tuple[str, list[str]]:
    tier = config.tier or sandbox.tier
    memory, output = program.limit("Memory"), program.limit("Output")
    began = time.monotonic()
    try:
        execution = sandbox.run(
            text,
            timeout_s=program.limit("Timeout", tier.value),
            memory_bytes=None if memory is None else int(memory) << 20,
            output_bytes=None if output is None else int(output),
            files={"given.txt": b"given"} if "Files" in program.fields and tier is Tier.NAMESPACES else None,
        )
    except InputError as error:
        return "refused", [f"{flaw}: {error}" for flaw in flaws_of_refusal(program, tier)]
    ruling = Ruling(
        tier=tier,
        secret=canaries.secret,
        host_name=canaries.host_name,
        output_bytes=int(output or config.output_bytes),
        result_bytes=config.result_bytes,
        seconds=time.monotonic() - began,
    )
    return execution.status.value, breaches_of(program, execution, ruling)


def _among(program: HostileProgram, numbers: str) -> bool:
    return int(program.number) in {int(number) for number in numbers.split(",")}


def _show(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        return
    for name, statuses in sorted(outcome.programs.items()):
        sys.stdout.write(f"{name:34} {', '.join(statuses)}{'   BREACH' if name in outcome.breached else ''}\n")
    sys.stdout.write("".join(f"BREACH {breach}\n" for breach in outcome.breaches))
    text = outcome.unavailable or f"{len(outcome.programs)} programs, {len(outcome.breaches)} breaches"
    sys.stdout.write(f"{outcome.tier}, user {outcome.user}: {text}, {outcome.seconds:.0f} s\n")


if __name__ == "__main__":
    sys.exit(main())
