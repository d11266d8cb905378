"""The policy: what the filters of both tiers let through, refuse and kill, on both architectures."""

import errno

import pytest

from moesaic.errors import SandboxUnavailableError
from moesaic.tools.sandbox.bpf import ALLOW, KILL_PROCESS, errno_action
from moesaic.tools.sandbox.syscalls import ALLOWED, CHECKED, FILES, FORBIDDEN, NUMBERS, assembled_filter, machine
from tests.tools.sandbox.filter_machine import decide

REFUSED = errno_action(errno.EPERM)
NEVER = {
    # Numbers of x86-64 for what is in no list: it must be refused because nobody thought of it.
    "socket": 41, "connect": 42, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "chmod": 90,
    "symlink": 88, "link": 86, "mknod": 133, "prctl": 157, "setrlimit": 160, "chroot": 161, "mount": 165,
    "tkill": 200, "unshare": 272, "utimensat": 280, "seccomp": 317, "memfd_create": 319, "execveat": 322,
    "pidfd_open": 434, "openat2": 437, "shmget": 29, "setns": 308, "capset": 126, "personality": 135, "mlock": 149,
    "landlock_restrict_self": 446, "socketpair": 53, "sendmsg": 46, "signalfd": 282, "timerfd_create": 283,
}  # fmt: skip


def action(call: str | int, *arguments: int, files: bool = True, name: str = "x86_64") -> int:
    table = NUMBERS[name]
    number = table.numbers[call] if isinstance(call, str) else call
    return decide(
        assembled_filter(files=files, name=name), number=number, architecture=table.architecture, arguments=arguments
    )


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("files", [True, False])
def test_each_list_means_what_it_says(name: str, files: bool) -> None:
    numbers = NUMBERS[name].numbers
    known = {call for call in numbers if call in ALLOWED | FILES | FORBIDDEN}
    wanted = {
        call: KILL_PROCESS if call in FORBIDDEN else ALLOW if call in ALLOWED or files else REFUSED for call in known
    }
    assert {call: action(call, files=files, name=name) for call in known} == wanted
    assert action("clone3", files=files, name=name) == errno_action(errno.ENOSYS)


@pytest.mark.parametrize("call", NEVER)
@pytest.mark.parametrize("files", [True, False])
def test_what_is_in_no_list_is_refused(call: str, files: bool) -> None:
    assert action(NEVER[call], files=files) == REFUSED


@pytest.mark.parametrize("files", [True, False])
def test_unknown_and_future_calls_are_refused(files: bool) -> None:
    listed = set(NUMBERS["x86_64"].numbers.values())
    assert {action(number, files=files) for number in range(600) if number not in listed} == {REFUSED}


@pytest.mark.parametrize(
    ("call", "arguments", "allowed"),
    [
        ("fcntl", (1, 3), True),
        ("fcntl", (1, 6), False),  # F_SETLK: locks that other processes see
        ("fcntl", (1, 8, 1), False),  # F_SETOWN: whom signals go to
        ("fcntl", (1, 10, 9), False),  # F_SETSIG: which one
        ("fcntl", (1, 1033, 15), False),  # F_ADD_SEALS
        ("ioctl", (1, 0x5401), True),
        ("ioctl", (1, 0x5412), False),  # TIOCSTI: typing into the terminal
        ("ioctl", (1, 1 << 32 | 0x5401), False),
        ("madvise", (0, 4096, 4), True),
        ("madvise", (0, 4096, 12), False),  # MADV_MERGEABLE
        ("prlimit64", (0, 7, 0), True),
        ("prlimit64", (0, 7, 4096), False),
        ("prlimit64", (1, 7, 0), False),
        ("sched_getaffinity", (0,), True),
        ("sched_getaffinity", (1,), False),
        ("clock_gettime", (1,), True),
        ("clock_gettime", (2**32 - 10,), False),  # the clock of another process
        ("clock_gettime", (2**64 - 10,), False),
    ],
)
@pytest.mark.parametrize("files", [True, False])
def test_arguments_decide_where_they_must(call: str, arguments: tuple[int, ...], allowed: bool, files: bool) -> None:
    assert call in CHECKED
    assert action(call, *arguments, files=files) == (ALLOW if allowed else REFUSED)


@pytest.mark.parametrize("call", ["mmap", "mprotect"])
def test_tier_seccomp_adds_no_code(call: str) -> None:
    for protection, action_ in ((3, ALLOW), (1, ALLOW), (4, REFUSED), (7, REFUSED), (1 << 32 | 4, REFUSED)):
        assert action(call, 0, 4096, protection, files=False) == action_
        assert action(call, 0, 4096, protection, files=True) == ALLOW


def test_the_lists_do_not_contradict_each_other() -> None:
    assert not ALLOWED & FORBIDDEN
    assert not ALLOWED & FILES
    assert not FILES & FORBIDDEN
    assert not CHECKED.keys() & (ALLOWED | FILES | FORBIDDEN)


@pytest.mark.parametrize("name", NUMBERS)
def test_tables_know_every_call_that_rules_name(name: str) -> None:
    numbers = NUMBERS[name].numbers
    assert len(set(numbers.values())) == len(numbers)
    unnamed = set(numbers) - ALLOWED - FILES - FORBIDDEN - set(CHECKED) - {"clone3", "mmap", "mprotect"}
    assert not unnamed
    if name == "x86_64":
        assert (ALLOWED | FILES | FORBIDDEN | set(CHECKED)) <= set(numbers)


def test_an_unknown_machine_is_refused_in_words() -> None:
    with pytest.raises(SandboxUnavailableError, match=r"x86_64 and aarch64, not of riscv64.*monty"):
        machine("riscv64")
