"""Which system calls a program may make: an allow-list for each tier, and the numbers of the calls.

1. What is not listed fails with EPERM, which Python shows as an ordinary `PermissionError`. A deny-list would let
   every call through that its author did not think of, and those that kernels add later.
2. Calls that only an attack makes end the process instead (SIGSYS), so that the attempt is seen.
3. `clone3` fails with ENOSYS, since a filter cannot read its arguments: the C library then falls back to `clone`, which
   fails with EPERM.
4. Tier S has no namespaces to hide files in: there the whole family of calls that take a path is refused, `stat`
   included, since even the existence of a file is knowledge.
5. The table of aarch64 is the kernel's generic one. It has not been run by us; the attack self-test decides there, as
   it does everywhere.
"""

import errno
import platform
from collections.abc import Mapping
from typing import NamedTuple

from moesaic.errors import SandboxUnavailableError
from moesaic.tools.sandbox.bpf import ALLOW, KILL_PROCESS, Check, Checks, Rule, assemble, errno_action

__all__ = ["ALLOWED", "CHECKED", "FILES", "FORBIDDEN", "NUMBERS", "Machine", "assembled_filter", "machine"]


def _calls(names: str) -> frozenset[str]:
    return frozenset(names.split())


ALLOWED = _calls(
    # memory, threads' bookkeeping, end
    "brk munmap mremap futex set_robust_list rseq membarrier sched_yield "
    "restart_syscall exit exit_group "
    # descriptors that are open
    "read write readv writev pread64 pwrite64 lseek close fstat dup dup2 dup3 pipe pipe2 poll ppoll select "
    "pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait ftruncate "
    # time
    "nanosleep gettimeofday time times getitimer setitimer alarm pause "
    # own signals
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending sigaltstack "
    # what everybody may know about himself
    "getpid getppid gettid getuid geteuid getgid getegid getpgrp getrusage getrlimit getrandom"
)
"""What every program may do, in each tier."""

FILES = _calls(
    "open openat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents getdents64 "
    "getcwd chdir fchdir unlink unlinkat mkdir mkdirat rmdir rename renameat renameat2 truncate fsync fdatasync "
    "statfs fstatfs copy_file_range sendfile umask uname"
)
"""What is allowed besides where namespaces hide the machine's files and name (tier N)."""

FORBIDDEN = _calls(
    "ptrace process_vm_readv process_vm_writev process_madvise bpf io_uring_setup io_uring_enter io_uring_register "
    "perf_event_open userfaultfd kexec_load kexec_file_load init_module finit_module delete_module "
    "open_by_handle_at add_key request_key keyctl"
)
"""What no honest program does: the process ends."""

CHECKED: Mapping[str, tuple[Check, ...]] = {
    # F_DUPFD to F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ. Not F_SETOWN and F_SETSIG, with which a pipe sends signals, and
    # no locks: those on a library's file would be seen by everybody who uses it.
    "fcntl": (Check(argument=1, values=(0, 1, 2, 3, 4, 1030, 1032)),),
    # TCGETS, FIONREAD, FIONCLEX, FIOCLEX, TIOCGWINSZ.
    "ioctl": (Check(argument=1, values=(0x5401, 0x541B, 0x5450, 0x5451, 0x5413)),),
    # NORMAL to DONTNEED, FREE, HUGEPAGE to DODUMP. Not MERGEABLE: it would tell of equal pages in other processes.
    "madvise": (Check(argument=2, values=(0, 1, 2, 3, 4, 8, 14, 15, 16, 17)),),
    # Own limits may be read.
    "prlimit64": (Check(argument=0, values=(0,)), Check(argument=2, values=(0,))),
    "sched_getaffinity": (Check(argument=0, values=(0,)),),
    # The machine's clocks and one's own: negative numbers are the clocks of other processes.
    "clock_gettime": (Check(argument=0, below=12),),
    "clock_getres": (Check(argument=0, below=12),),
    "clock_nanosleep": (Check(argument=0, below=12),),
}
"""Calls that are allowed with some arguments only, in each tier."""

_PROT_EXEC = 4
_NO_NEW_CODE = (Check(argument=2, without=_PROT_EXEC),)
_REFUSED = errno_action(errno.EPERM)
_OLD_TABLE_FROM = 0x40000000  # x32

_X86_64 = (
    "read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12 "
    "rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 pread64 17 pwrite64 18 readv 19 writev 20 access 21 "
    "pipe 22 select 23 sched_yield 24 mremap 25 madvise 28 dup 32 dup2 33 pause 34 nanosleep 35 getitimer 36 alarm 37 "
    "setitimer 38 getpid 39 sendfile 40 exit 60 uname 63 fcntl 72 fsync 74 fdatasync 75 truncate 76 "
    "ftruncate 77 getdents 78 getcwd 79 chdir 80 fchdir 81 rename 82 mkdir 83 rmdir 84 unlink 87 readlink 89 umask 95 "
    "gettimeofday 96 getrlimit 97 getrusage 98 times 100 ptrace 101 getuid 102 getgid 104 geteuid 107 getegid 108 "
    "getppid 110 getpgrp 111 rt_sigpending 127 sigaltstack 131 statfs 137 fstatfs 138 gettid 186 init_module 175 "
    "delete_module 176 time 201 futex 202 sched_getaffinity 204 getdents64 217 restart_syscall 219 "
    "clock_gettime 228 clock_getres 229 clock_nanosleep 230 exit_group 231 epoll_wait 232 epoll_ctl 233 "
    "kexec_load 246 add_key 248 request_key 249 keyctl 250 openat 257 mkdirat 258 newfstatat 262 unlinkat 263 "
    "renameat 264 readlinkat 267 faccessat 269 pselect6 270 ppoll 271 set_robust_list 273 epoll_pwait 281 "
    "epoll_create1 291 dup3 292 pipe2 293 perf_event_open 298 prlimit64 302 open_by_handle_at 304 "
    "process_vm_readv 310 process_vm_writev 311 finit_module 313 renameat2 316 getrandom 318 kexec_file_load 320 "
    "bpf 321 userfaultfd 323 membarrier 324 copy_file_range 326 statx 332 rseq 334 io_uring_setup 425 "
    "io_uring_enter 426 io_uring_register 427 clone3 435 faccessat2 439 process_madvise 440"
)
_GENERIC = (
    "getcwd 17 epoll_create1 20 epoll_ctl 21 epoll_pwait 22 dup 23 dup3 24 fcntl 25 ioctl 29 mkdirat 34 "
    "unlinkat 35 renameat 38 statfs 43 fstatfs 44 truncate 45 ftruncate 46 faccessat 48 chdir 49 fchdir 50 openat 56 "
    "close 57 pipe2 59 getdents64 61 lseek 62 read 63 write 64 readv 65 writev 66 pread64 67 pwrite64 68 sendfile 71 "
    "pselect6 72 ppoll 73 readlinkat 78 newfstatat 79 fstat 80 fsync 82 fdatasync 83 exit 93 exit_group 94 futex 98 "
    "set_robust_list 99 nanosleep 101 getitimer 102 setitimer 103 kexec_load 104 init_module 105 delete_module 106 "
    "clock_gettime 113 clock_getres 114 clock_nanosleep 115 ptrace 117 sched_getaffinity 123 sched_yield 124 "
    "restart_syscall 128 sigaltstack 132 rt_sigaction 134 rt_sigprocmask 135 rt_sigpending 136 rt_sigreturn 139 "
    "times 153 uname 160 getrlimit 163 getrusage 165 umask 166 gettimeofday 169 getpid 172 getppid 173 getuid 174 "
    "geteuid 175 getgid 176 getegid 177 gettid 178 brk 214 munmap 215 mremap 216 add_key 217 request_key 218 "
    "keyctl 219 mmap 222 mprotect 226 madvise 233 perf_event_open 241 prlimit64 261 "
    "open_by_handle_at 265 process_vm_readv 270 process_vm_writev 271 finit_module 273 renameat2 276 getrandom 278 "
    "bpf 280 userfaultfd 282 membarrier 283 copy_file_range 285 statx 291 rseq 293 kexec_file_load 294 "
    "io_uring_setup 425 io_uring_enter 426 io_uring_register 427 clone3 435 faccessat2 439 process_madvise 440"
)


class Machine(NamedTuple):
    """One architecture: its AUDIT_ARCH value, the number of each call that a rule is about, and where x32 begins."""

    architecture: int
    numbers: dict[str, int]
    other_tables_from: int | None


def _numbers(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


NUMBERS = {
    "x86_64": Machine(0xC000003E, _numbers(_X86_64), _OLD_TABLE_FROM),
    "aarch64": Machine(0xC00000B7, _numbers(_GENERIC), None),
}
"""The architectures that are known."""


def machine(name: str | None = None) -> Machine:
    """The table of this machine, or of the one named.

    Raises:
        SandboxUnavailableError: there is none.
    """
    name = name or platform.machine()
    if name not in NUMBERS:
        raise SandboxUnavailableError(
            f"the sandbox knows the system calls of {' and '.join(NUMBERS)}, not of {name}; "
            "on this machine only the tier monty, a restricted interpreter, can be used"
        )
    return NUMBERS[name]


def assembled_filter(*, files: bool, name: str | None = None) -> bytes:
    """The filter as the kernel takes it; with `files` that of tier N, else that of tier S.

    Raises:
        SandboxUnavailableError: this machine's calls are not known.
    """
    table = machine(name)
    rules: dict[str, Rule] = dict.fromkeys(ALLOWED | (FILES if files else frozenset()), ALLOW)
    # Where all code is loaded before, none is added: an import in tier N may still map a library.
    rules |= dict.fromkeys(("mmap", "mprotect"), ALLOW if files else Checks(checks=_NO_NEW_CODE))
    rules |= dict.fromkeys(FORBIDDEN, KILL_PROCESS)
    rules["clone3"] = errno_action(errno.ENOSYS)
    rules |= {call: Checks(checks=checks) for call, checks in CHECKED.items()}
    return assemble(
        {table.numbers[name]: rule for name, rule in rules.items() if name in table.numbers},
        architecture=table.architecture,
        default=_REFUSED,
        other_tables_from=table.other_tables_from,
    )
