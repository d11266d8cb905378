"""How a sandbox runs programs: which walls, which limits, how many at once."""

from dataclasses import dataclass
from enum import StrEnum

from moesaic.errors import InputError

__all__ = ["KIB", "MIB", "SandboxConfig", "Tier", "checked_limit"]

KIB, MIB = 2**10, 2**20


class Tier(StrEnum):
    """What stands between a program and the machine, strongest first; docs/sandbox.md says what each needs."""

    NAMESPACES = "namespaces"
    """Namespaces, Landlock where the kernel has it, a system-call filter, limits: an empty root, no network."""
    SECCOMP = "seccomp"
    """A system-call filter that refuses every path, Landlock where the kernel has it, and limits."""
    MONTY = "monty"
    """pydantic-monty's restricted interpreter, never chosen by itself: it is not CPython and lacks most modules."""


_LIMITS: dict[str, tuple[float, float]] = {
    "timeout_s": (0.01, 3600),
    "memory_bytes": (8 * MIB, 2**40),
    "output_bytes": (0, 64 * MIB),
    "result_bytes": (64, 16 * MIB),
    "scratch_bytes": (64 * KIB, 2**30),
    "program_bytes": (1, 16 * MIB),
    "spares": (0, 64),
    "concurrency": (1, 256),
    "queue_timeout_s": (0, 3600),
    "start_timeout_s": (0.1, 3600),
    "recycle_after": (1, 10**9),
    "heartbeat_s": (0.01, 3600),
    "max_restarts": (0, 1000),
}


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """The defaults suit short programs that compute: a few seconds, a few hundred megabytes, no files.

    Raises:
        InputError: a value is out of its range.
    """

    tier: Tier | None = None
    """The walls to use; None for the strongest of `namespaces` and `seccomp` that holds on this machine."""
    timeout_s: float = 5.0
    """Longest time of one program, by the clock on the wall, 0.01 to 3600."""
    memory_bytes: int = 256 * MIB
    """Most memory that a program may map beyond what the interpreter and its libraries take, from 8 MiB."""
    output_bytes: int = 64 * KIB
    """Most bytes on standard output and error together; a program that writes more is ended."""
    result_bytes: int = 64 * KIB
    """Most bytes of a program's value as JSON, 64 to 16 Mi."""
    scratch_bytes: int = 16 * MIB
    """Size of the writable working directory of programs that are given files (tier `namespaces`), from 64 KiB."""
    program_bytes: int = 256 * KIB
    """Most bytes of a program's text."""
    spares: int = 2
    """Children that are kept ready, for each set of libraries; 0 forks when a program comes."""
    concurrency: int = 4
    """Most programs that run at the same time; others wait."""
    queue_timeout_s: float = 30.0
    """Longest time that a program waits for its turn; then `SandboxBusyError`."""
    start_timeout_s: float = 120.0
    """Longest time that the zygote may take to import its libraries and to pass the attack self-test."""
    recycle_after: int = 10_000
    """Programs after which a zygote is replaced by a new one."""
    heartbeat_s: float = 15.0
    """How often a zygote is asked whether it lives; one that does not answer for as long again is replaced. Programs
    have a clock of their own: a short time finds a dead zygote no sooner, and takes a busy machine's for one."""
    max_restarts: int = 5
    """Starts that may fail in a row, each after a longer pause; then `SandboxUnavailableError` for half a minute."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        if self.tier is not None:
            if self.tier not in list(Tier):
                raise InputError(f"tier={self.tier!r} must be one of {', '.join(Tier)}, or None")
            object.__setattr__(self, "tier", Tier(self.tier))
        for name in _LIMITS:
            checked_limit(name, getattr(self, name))


def checked_limit(name: str, value: float) -> float:
    """The value of a field, if it is within its range.

    Raises:
        InputError: it is not, or is no number.
    """
    low, high = _LIMITS[name]
    whole = not name.endswith("_s")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{name}={value!r} must be {kind} from {low:g} to {high:g}")
    return value
