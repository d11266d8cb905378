"""The attack self-test: what a zygote must withstand before it is given any program.

A test of features would say that a wall can be built. This one says that the wall stands: it attacks from inside of a
real child, made and locked like every other, and looks at the child from outside too. A zygote that fails is not used.
"""

import platform
import time

from moesaic.tools.sandbox.cancellation import Cancellation
from moesaic.tools.sandbox.child_process import ChildLimits, ChildProcess
from moesaic.tools.sandbox.config import MIB, Tier
from moesaic.tools.sandbox.conversation import Conversation, Job
from moesaic.tools.sandbox.exchange import RunLimits
from moesaic.tools.sandbox.execution import ExecutionStatus

__all__ = ["attack", "probing_limits"]

_TIMEOUT_S = 60.0  # it holds on a machine that has no time too: who is slow has walls all the same
_CPU_S = 10
_LIMITS = RunLimits(timeout_s=_TIMEOUT_S, memory_bytes=64 * MIB, output_bytes=4096, result_bytes=4096)

_PROGRAM = """
import _socket, ctypes, os, posix

breaches = []

def must_fail(name, attack):
    try:
        attack()
    except OSError:
        return
    breaches.append(name)

def fork():
    if os.fork() == 0:
        os._exit(0)

libc = ctypes.CDLL(None, use_errno=True)

def by_number(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

must_fail("a network socket", lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM))
must_fail("a Unix socket", lambda: _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM))
must_fail("reading /etc/passwd", lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)))
must_fail("seeing /etc/passwd", lambda: os.stat("/etc/passwd"))
must_fail("reading /proc/1/environ", lambda: os.close(os.open("/proc/1/environ", os.O_RDONLY)))
must_fail("writing /tmp", lambda: os.close(os.open("/tmp", os.O_WRONLY | os.O_TMPFILE)))
must_fail("a second process", fork)
must_fail("a signal to its parent", lambda: os.kill(os.getppid(), 0))
must_fail("a signal to everybody", lambda: os.kill(-1, 0))
must_fail("another program", lambda: posix.execve("/bin/sh", ["sh", "-c", "exit"], {}))
must_fail("a new namespace", lambda: by_number(UNSHARE, 0x10000000))
must_fail("a memory file", lambda: by_number(MEMFD_CREATE, b"x", 0))

def solution():
    from datetime import date, timedelta
    from fractions import Fraction
    whole = sum((Fraction(1, n) for n in (2, 3, 6)), Fraction(0))
    return [breaches, str(date(2024, 2, 28) + timedelta(days=2)), whole == 1]
"""
_NUMBERS = {"x86_64": (272, 319), "aarch64": (97, 279)}
"""Numbers of unshare and memfd_create."""


def attack(child: ChildProcess, tier: Tier) -> str | None:
    """What the child could do that it must not, or could not do that it must; None if its walls hold."""
    reason = child.wait_until_ready(time.monotonic() + _TIMEOUT_S)
    if reason is not None:
        return reason
    unlocked = _unlocked(child)
    if unlocked:
        return unlocked
    unshare, memfd_create = _NUMBERS[platform.machine()]
    program = _PROGRAM.replace("UNSHARE", str(unshare)).replace("MEMFD_CREATE", str(memfd_create))
    done = Conversation(child, tier, Cancellation()).run(Job(program, None), _LIMITS, last=True)
    if done.status is not ExecutionStatus.OK:
        return f"the self-test did not come to its end: {done.error.message if done.error else done.status}"
    match done.value:
        case [[], "2024-03-01", True]:
            return None
        case [[*breaches], _, _] if breaches:
            return f"a program could do what it must not: {', '.join(map(str, breaches))}"
    return f"a program that computes gave {done.value!r}"


def _unlocked(child: ChildProcess) -> str | None:
    """What /proc says that no program can forge; nothing where this process cannot look."""
    lines = child.status_lines()
    wanted = {"NoNewPrivs": "1", "Seccomp": "2"} | dict.fromkeys(("CapEff", "CapPrm", "CapInh", "CapAmb"), "0" * 16)
    for name, value in wanted.items():
        if lines.get(name, value) != value:
            return f"the kernel says {name}: {lines[name]} of a child, it should be {value}"
    if "0" in lines.get("Uid", "").split():
        return "a child runs as root"
    return None


def probing_limits() -> ChildLimits:
    """What the child of a self-test is forked with."""
    return ChildLimits(memory_bytes=_LIMITS.memory_bytes, cpu_s=_CPU_S, scratch_bytes=0)
