"""Reads and writes what the kernel tells of processes.

Class: proc
Must: no-host-file, no-secret
Status: ok
Value: []
"""

import os
import pathlib

READ = (
    "/proc/self/environ",
    "/proc/self/maps",
    "/proc/self/cmdline",
    "/proc/self/mountinfo",
    "/proc/1/environ",
    "/proc/1/cmdline",
    "/proc/@PID@/environ",
    "/proc/@PID@/cmdline",
    "/proc/@PARENT@/environ",
    "/proc/version",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/net/tcp",
    "/proc/kallsyms",
    "/proc/config.gz",
    "/proc/cmdline",
)
WRITE = (
    "/proc/self/mem",
    "/proc/self/oom_score_adj",
    "/proc/self/uid_map",
    "/proc/self/attr/current",
    "/proc/sysrq-trigger-not-there",
    "/proc/@PID@/oom_score_adj",
)


def attempts():
    for path in READ:
        yield f"read {path}", lambda path=path: pathlib.Path(path).read_bytes()
    for path in WRITE:
        yield f"write {path}", lambda path=path: os.open(path, os.O_WRONLY)
    yield "list", lambda: os.listdir("/proc")
    yield "root", lambda: os.listdir("/proc/self/root")
    yield "1 root", lambda: os.listdir("/proc/1/root")
    yield "cwd", lambda: os.listdir("/proc/@PID@/cwd")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
