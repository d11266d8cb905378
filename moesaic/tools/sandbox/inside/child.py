"""One forked child: it lays every wall on itself, says `ready`, and only then is sent programs.

1. The order of the walls matters: namespaces and mounts need capabilities, Landlock and the filter need
   `no_new_privs`, and the filter comes last because it refuses everything before it.
2. A step that fails ends the child with the step's reason in place of `ready`. The server sends nothing then.
3. Programs come one by one: the next is sent when the outcome of the former has arrived, so that a program cannot read
   what follows, and its output ends where the next one's begins.
4. What a program could replace (`os.write`, `json.dumps`, ...) is bound before it runs. That keeps accidents away, not
   intent: a program can always forge its own outcome, and nothing else depends on it.
"""

import gc
import io
import json
import os
import sys
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from moesaic.tools.sandbox.inside import landlock, libc, namespaces, privileges
from moesaic.tools.sandbox.inside.messages import FAILED, JOB_HEAD, READY
from moesaic.tools.sandbox.inside.program import Outcome, ProgramState, run_program

__all__ = ["Limits", "Pipes", "Walls", "become_child", "prepare_streams", "rehearse"]

_RESULTS, _JOBS, _RULES = 3, 4, 5  # after the three standard streams
_LENGTH_BYTES = 4
_CHUNK_BYTES = 1 << 16
_SIGKILL = 9
_MAX_DESCRIPTOR = 0x7FFFFFFF
_NO_MEMORY, _TOO_LARGE = b'{"outcome": "memory"}', b'{"outcome": "result_limit"}'
_EMPTY_BYTES = len(b'{"outcome": "ok", "value": }')

_encoded = json.JSONEncoder(ensure_ascii=False).encode

_REHEARSAL = """
from datetime import date, timedelta
from fractions import Fraction
def solution():
    return [str(date(2024, 1, 1) + timedelta(days=1)), float(Fraction(1, 2) + Fraction(1, 3))]
"""


class Walls:
    """What stands between children and the machine. The zygote prepares it: a child only has to make the calls.

    Args:
        filter_: the system-call filter.
        rules: descriptor of Landlock's rules, -1 where the kernel has none.
        own_pids: whether each child is alone in a pid namespace (tier N).
    """

    def __init__(self, filter_: privileges.Filter, rules: int, *, own_pids: bool) -> None:
        self._filter = filter_
        self._rules = rules
        self._own_pids = own_pids
        self._zygote = os.getpid()
        self._close_others = libc.prepared("close_range", _RULES if rules < 0 else _RULES + 1, _MAX_DESCRIPTOR, 0)
        self._end_with_zygote = libc.prepared("prctl", libc.PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        self._restrict = landlock.restriction(_RULES)

    def take_over(self, pipes: "Pipes") -> None:
        """Have the child's pipes under their numbers, and no other descriptor."""
        # Standard input is an empty pipe of its own: flags of a null device would be shared with every other child.
        nothing, _ = os.pipe()
        for number, descriptor in enumerate((nothing, *pipes)):
            os.dup2(descriptor, number)
        if self._rules >= 0:
            os.dup2(self._rules, _RULES)
        self._close_others()

    def lay(self, limits: "Limits") -> None:
        """What the zygote could not lay on itself, because it still has to fork."""
        if limits.scratch_bytes:
            namespaces.mount_scratch(limits.scratch_bytes)
        privileges.limit_resources(
            address_bytes=limits.address_bytes, cpu_s=limits.cpu_s, file_bytes=limits.scratch_bytes
        )
        privileges.drop_capabilities()
        self._end_with_zygote()
        if not self._own_pids and os.getppid() != self._zygote:
            raise ProcessLookupError("the zygote has gone")
        if self._rules >= 0:
            self._restrict()
            os.close(_RULES)
        self._filter.lay()


class Limits(NamedTuple):
    """What one child may take."""

    address_bytes: int
    """Size of the address space, what the zygote has mapped included."""
    cpu_s: int
    """Processor time after which the kernel ends the child: the back-stop of the server's clock."""
    scratch_bytes: int
    """Size of the writable working directory, 0 for none."""


class Pipes(NamedTuple):
    """A child's ends of its pipes, in the order of the numbers that they get, from 1."""

    output: int
    errors: int
    results: int
    jobs: int


def become_child(walls: Walls, pipes: Pipes, limits: Limits, state: ProgramState, *, warm: bool) -> NoReturn:
    """Turn this forked process into a child that serves programs, and end it.

    `state` is what programs are to find. With `warm` it rehearses before it says that it is ready: that is worth the
    time where the child waits for a program, and none where a program waits for the child.
    """
    write, leave, ready = os.write, os._exit, False
    try:
        walls.take_over(pipes)
        walls.lay(limits)
        if warm:
            rehearse()
        write(_RESULTS, READY)
        ready = True
        _serve(state)
    except BaseException as error:
        if not ready:
            write(_RESULTS, FAILED + f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:500])
        leave(70)
    leave(0)


def prepare_streams() -> None:
    """Make the standard streams of later children, while descriptors 0 to 2 are pipes as theirs will be.

    It saves each child the work, and a stream asks for the state of its descriptor, which tier S refuses later.
    """
    kept = [os.dup(number) for number in range(3)]
    reading, writing = os.pipe()
    for number, end in enumerate((reading, writing, writing)):
        os.dup2(end, number)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "replace")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(number, "w", closefd=False)), "utf-8", "backslashreplace", newline="\n"
        )
        for number in (1, 2)
    )
    for number, descriptor in enumerate(kept):
        os.dup2(descriptor, number)
    for descriptor in (*kept, reading, writing):
        os.close(descriptor)


def rehearse() -> None:
    """Run what programs run, so that the pages that this writes to are the child's own before a program waits."""
    _encoded(run_program(_REHEARSAL, 1 << 16))


def _serve(state: ProgramState) -> None:
    """Run programs until the server closes the pipe; `JOB_HEAD` says how one is written."""
    write, first = os.write, True
    gc.enable()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    while (head := _read(JOB_HEAD.size)) is not None:
        program_bytes, files_bytes, result_bytes = JOB_HEAD.unpack(head)
        program = (_read(program_bytes) or b"").decode("utf-8", "surrogatepass")
        for name, size in json.loads(_read(files_bytes) or b"[]") if files_bytes else ():
            _make_file(name, _read(size) or b"")
        if not first:
            state.restore()
        first = False
        outcome = run_program(program, result_bytes)
        state.settle()
        try:
            frame = _framed(outcome, result_bytes)
        except Exception:  # the program has shadowed what this needs
            state.restore()
            frame = _framed(outcome, result_bytes)
        while frame:
            frame = frame[write(_RESULTS, frame) :]


def _framed(
    outcome: Outcome,
    result_bytes: int,
    encoded: Callable[[Outcome], str] = _encoded,
    length: Callable[[bytes], int] = len,
) -> bytes:
    """The outcome as it is sent."""
    try:
        body = encoded(outcome).encode("utf-8", "replace")
    except MemoryError:
        body = _NO_MEMORY
    if outcome["outcome"] == "ok" and length(body) > result_bytes + _EMPTY_BYTES:
        body = _TOO_LARGE
    return length(body).to_bytes(_LENGTH_BYTES, "big") + body


def _read(
    count: int, read: Callable[[int, int], bytes] = os.read, length: Callable[[bytes], int] = len
) -> bytes | None:
    """Exactly `count` bytes of the jobs, None if the server has closed them."""
    parts = []
    while count:
        part = read(_JOBS, count if count < _CHUNK_BYTES else _CHUNK_BYTES)
        if not part:
            return None
        parts.append(part)
        count -= length(part)
    return b"".join(parts)


def _make_file(name: str, content: bytes) -> None:
    """A file that came with the job; its name was checked before it was sent."""
    folder = os.path.dirname(name)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(name, "wb") as stream:
        stream.write(content)
