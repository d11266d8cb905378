"""What a hostile program would reach if it got out: servers, a process, files, memory, all of them watched.

Everything is made for one run of the set and is this run's own; nothing of the machine itself is at stake.
"""

import ctypes
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from multiprocessing import shared_memory
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["SECRET_NAME", "HostCanaries"]

SECRET_NAME = "MOESAIC_CANARY_SECRET"

_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGIO)
_PROCESS_SIGNALS = (*_SIGNALS, signal.SIGTERM, signal.SIGCONT)
_CREATE = 0o1600
_REMOVE = 0
_SUBREAPER = 36
_PROCESS = """
import ctypes, json, os, resource, signal, sys
secret = os.environ["MOESAIC_CANARY_SECRET"].encode()
held = ctypes.create_string_buffer(secret)
seen = []
for number in json.loads(sys.argv[1]):
    signal.signal(number, lambda number, frame: seen.append(number))
print(json.dumps({"address": ctypes.addressof(held)}), flush=True)
for line in sys.stdin:
    limits = [resource.getrlimit(number) for number in range(16)]
    policy = [os.getpriority(0, 0), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0)), os.getpgid(0)]
    print(json.dumps({"seen": seen, "held": held.value == secret, "limits": limits, "policy": policy}), flush=True)
"""


class HostCanaries:
    """The watched things; `names` is what programs are told, `harm()` what happened since they were made."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(6)
        self.secret = "moesaic-canary-" + secrets.token_hex(24)
        self.host_name = socket.gethostname()
        self._own_signals: list[int] = []

    def __enter__(self) -> "HostCanaries":
        os.environ[SECRET_NAME] = self.secret
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.prctl(_SUBREAPER, 1, 0, 0, 0)
        self._own_handlers = {number: signal.signal(number, self._signalled) for number in _SIGNALS}
        self._make_files()
        self._make_servers()
        self._make_shared_memory()
        self._start_process()
        self._own_children = set(self._children())
        self._before = self._facts()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        for server in (self._tcp, self._udp, self._abstract, self._unix):
            server.close()
        self._shm.close()
        self._shm.unlink()
        self._libc.shmctl(self._segment, _REMOVE, None)
        for number, handler in self._own_handlers.items():
            signal.signal(number, handler)
        shutil.rmtree(self.folder)
        self._libc.prctl(_SUBREAPER, 0, 0, 0, 0)
        del os.environ[SECRET_NAME]

    def names(self, number: str) -> dict[str, str]:
        """What the program of this number is told of what it attacks."""
        return {
            "ABSTRACT": self._abstract_name,
            "ADDRESS": str(self._address),
            "BASENAME": self.folder.name,
            "FILE": str(self._file),
            "FOLDER": str(self.folder),
            "HOSTNAME": self.host_name,
            "KEY": str(self._key),
            "MARK": f"{self.token}-{number}",
            "PARENT": str(os.getpid()),
            "PID": str(self._process.pid),
            "PORT": str(self._tcp.getsockname()[1]),
            "SECRET_NAME": SECRET_NAME,
            "SHM": self._shm.name,
            "SOCKET": str(self.folder / "socket"),
        }

    def harm(self) -> list[str]:
        """Everything that a program brought about outside, with its number where the trace carries it."""
        return [*self._calls(), *self._marks(), *self._changes(), *self._process_harm()]

    def orphans(self, grace_s: float = 60.0) -> list[str]:
        """Processes that are left below this one although the sandbox is closed, after a time of grace."""
        deadline = time.monotonic() + grace_s
        while left := set(self._children()) - self._own_children:
            if time.monotonic() >= deadline:
                break
            time.sleep(0.1)
        return [f"process {pid} lives on" for pid in sorted(left)]

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._own_signals.append(number)

    def _make_files(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="canaries-"))
        self._file = self.folder / "secret.txt"
        self._file.write_text(f"raise ValueError('{self.secret}')\n{self.secret}\n")
        self._file.chmod(0o600)
        (self.folder / "bait-1").write_text("bait")
        (self.folder / "bait-2").mkdir()
        library = find_spec("_ctypes")
        if library is not None and library.origin is not None:
            shutil.copy(library.origin, self.folder / "library.so")

    def _make_servers(self) -> None:
        self._tcp = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(self._tcp.getsockname())
        self._abstract_name = f"canary-{self.token}"
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind("\0" + self._abstract_name)
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(str(self.folder / "socket"))
        for server in (self._abstract, self._unix):
            server.listen(64)
        for server in (self._tcp, self._udp, self._abstract, self._unix):
            server.setblocking(False)

    def _make_shared_memory(self) -> None:
        self._shm = shared_memory.SharedMemory(create=True, size=4096)
        self._shared_view()[: len(self.secret)] = self.secret.encode()
        self._key = 0x5EC0000 + secrets.randbelow(1 << 16) * 16
        self._segment = self._libc.shmget(self._key, 4096, _CREATE)

    def _shared_view(self) -> "memoryview[int]":
        assert self._shm.buf is not None
        return self._shm.buf

    def _start_process(self) -> None:
        command = [sys.executable, "-I", "-c", _PROCESS, json.dumps([int(number) for number in _PROCESS_SIGNALS])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._address = self._answer()["address"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def _process_answer(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return self._answer()

    def _calls(self) -> Iterator[str]:
        for name, server in (("TCP", self._tcp), ("abstract socket", self._abstract), ("Unix socket", self._unix)):
            for connection in _accepted(server):
                with connection:
                    connection.settimeout(0.5)
                    yield f"{name} canary was called: {_received(connection)!r}"
        while datagram := _received(self._udp):
            yield f"UDP canary was called: {datagram!r}"

    def _marks(self) -> Iterator[str]:
        library = Path(os.__file__).parent
        folders = [self.folder, library, library / "site-packages", Path(sys.prefix), Path.cwd(), Path.home()]
        folders += map(Path, ("/", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/etc", "/usr", "/usr/lib"))
        for folder in dict.fromkeys(folders):
            for name in _listed(folder):
                if self.token in name or name.startswith(("canary_shadow", "canary_left_over")):
                    yield f"{folder / name} was made"

    def _changes(self) -> Iterator[str]:
        now = self._facts()
        for name, before in self._before.items():
            if now[name] != before:
                yield f"{name} changed: {before} became {now[name]}"

    def _process_harm(self) -> Iterator[str]:
        state = _state(self._process.pid)
        if state not in ("S", "R", "D"):
            yield f"the canary process is in the state {state}"
        elif (answer := self._process_answer()) and (answer["seen"] or not answer["held"]):
            yield f"the canary process saw signals {answer['seen']}, its memory is {answer['held'] or 'altered'}"
        if self._own_signals:
            yield f"the caller of the sandbox was signalled: {self._own_signals}"

    def _facts(self) -> dict[str, object]:
        """What must be afterwards as it was before."""
        alive = _state(self._process.pid) in ("S", "R", "D")
        answer = self._process_answer() if alive else {}
        return {
            "host name": socket.gethostname(),
            "secret file": (self._file.read_bytes(), *_metadata(self._file)),
            "canary folder": (sorted(_listed(self.folder)), *_metadata(self.folder)),
            "limits of the caller": [resource.getrlimit(number) for number in range(16)],
            "scheduling of the caller": (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)),
            "processors of the caller": sorted(os.sched_getaffinity(0)),
            "mounts": Path("/proc/self/mountinfo").read_text(),
            "cores": [name for name in _listed(Path.cwd()) if name.startswith("core")],
            "shared segments": sorted(_shared_keys() & set(range(self._key, self._key + 16))),
            "shared memory": bytes(self._shared_view()[: len(self.secret)]),
            "canary process": {name: answer.get(name) for name in ("limits", "policy")},
        }

    def _children(self) -> list[int]:
        names = (name for name in os.listdir("/proc") if name.isdigit())
        return [int(name) for name in names if _parent(int(name)) == os.getpid() and _state(int(name)) != "Z"]


def _metadata(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_nlink, stat.st_mtime_ns, stat.st_ctime_ns)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _shared_keys() -> set[int]:
    keys: set[int] = set()
    for kind in ("shm", "sem", "msg"):
        path = Path("/proc/sysvipc") / kind
        keys |= {int(line.split()[0]) for line in path.read_text().splitlines()[1:]} if path.exists() else set()
    return keys


def _accepted(server: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return
        yield connection


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(200)
    except OSError:
        return b""


def _status_fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["gone", "0"]


def _state(pid: int) -> str:
    return _status_fields(pid)[0]


def _parent(pid: int) -> int:
    return int(_status_fields(pid)[1])
