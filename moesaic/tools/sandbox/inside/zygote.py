"""The zygote: a process without secrets that has imported everything, and that children are forked from.

1. It is a fresh interpreter with an empty environment and no descriptors but a control socket, never a fork of the
   server, whose memory would carry keys and model data.
2. It takes one message, its setup, lays the walls that are the same for all children on itself, and answers `ready`
   with what it found, or `failed` with the step and the reason.
3. Then it forks when asked and reports how each child ended, by `wait4`: facts from outside of the child.
4. In tier N the process that serves is a fork that is pid 1 of a new namespace, so that its end is the end of every
   child. The first process only waits for it.
5. The control socket's end is its own end, and so is the end of the process that started it.
"""

import fcntl
import gc
import json
import os
import resource
import select
import signal
import struct
from _socket import SCM_RIGHTS, SOL_SOCKET, socket  # all of `socket` would weigh on every fork
from typing import Any, NoReturn

from moesaic.tools.sandbox.inside import landlock, libc, modules, namespaces, privileges
from moesaic.tools.sandbox.inside.child import Limits, Pipes, Walls, become_child, prepare_streams, rehearse
from moesaic.tools.sandbox.inside.messages import EXITED, EXITED_HEAD, FORKED, PING, PONG, REPLY, REQUEST, UNFORKED
from moesaic.tools.sandbox.inside.pools import filled_holes
from moesaic.tools.sandbox.inside.program import ProgramState

__all__ = ["main"]

_PACKET_BYTES = 1 << 18
_NEWS_WAIT_MS = 1
_RIGHTS = struct.Struct("5i")
_LOWEST_DESCRIPTOR = 10  # those below are for the children's pipes
_REHEARSALS = 10  # after eight calls Python rewrites a function's code, which every child would do for itself
_SLACK_BYTES = 2**20  # what the zygote may have mapped since it looked


def main(descriptor: int) -> NoReturn:
    """Be the zygote; `descriptor` is its end of the control socket."""
    control = socket(fileno=_out_of_the_way(descriptor))
    zygote = _Zygote(control)
    try:
        facts = zygote.prepare(json.loads(control.recv(_PACKET_BYTES)))
    except BaseException as error:
        control.send(json.dumps({"failed": f"{zygote.step}: {type(error).__name__}: {error}"}).encode())
        os._exit(1)
    control.send(json.dumps({"ready": facts}).encode())
    zygote.serve()


def _out_of_the_way(descriptor: int) -> int:
    """The same socket under a high number, and the numbers of the children's pipes taken by the null device."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
    os.close(descriptor)
    for number in range(1, _LOWEST_DESCRIPTOR):
        os.dup2(0, number)
    return moved


class _Zygote:
    """What is set up once, and the children that live; `step` is what it is doing, for the reason of a failure."""

    def __init__(self, control: socket) -> None:
        self.step = "setup"
        self._control = control
        self._children: dict[int, tuple[int, int]] = {}  # pid descriptor -> process id, the server's number
        self._news = b""  # what has ended and was not told yet

    def prepare(self, setup: dict[str, Any]) -> dict[str, Any]:
        """Import everything and lay the common walls; returns what was found."""
        filter_ = privileges.Filter(bytes.fromhex(setup["filter"]))
        self._own_pids = setup["tier"] == "namespaces"
        scientific, sealed = setup["scientific"], not self._own_pids
        self.step = "imports"
        missing = modules.import_modules(scientific=scientific, sealed=sealed, folders=setup["packages"])
        modules.warm_up(scientific=scientific)
        modules.forget_machine()
        os.environ.clear()
        if len(os.listdir("/proc/self/task")) != 1:
            raise RuntimeError("a library started threads: forks of this process would not be whole")
        self._mapped_bytes = int(_text("/proc/self/statm").split()[0]) * resource.getpagesize() + _SLACK_BYTES

        if self._own_pids:
            self.step = "namespaces"
            namespaces.enter(setup["visible"], setup["covered"], uid=setup["uid"], gid=setup["gid"])
            privileges.forbid_capabilities(privileged=True)
        elif os.geteuid() == 0:
            self.step = "giving up root"
            privileges.forbid_capabilities(privileged=True)
            privileges.give_up_root(setup["uid"], setup["gid"])
            privileges.drop_capabilities()  # which stay where securebits keep the kernel from taking them
        else:
            privileges.forbid_capabilities(privileged=False)
        privileges.limit_common_resources()
        self.step = "landlock"
        version = landlock.interface()
        rules = landlock.make_ruleset(version, self._grants(setup["visible"])) if version else -1
        self.step = "first process"
        prepare_streams()
        self._state = ProgramState()
        for _ in range(_REHEARSALS):
            rehearse()
            self._state.settle()
        gc.collect()
        self._kept = filled_holes()
        gc.freeze()
        gc.disable()
        if self._own_pids:
            _fork_first_of_namespace()
        else:
            libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(libc.PR_SET_DUMPABLE, 0)
        self._own = os.pidfd_open(os.getpid())
        self._walls = Walls(filter_, rules, own_pids=self._own_pids)
        return {"landlock": version, "missing": missing}

    def _grants(self, visible: list[str]) -> dict[str, int]:
        """Landlock's rules; tier S has none, since it opens nothing."""
        if not self._own_pids:
            return {}
        grants = dict.fromkeys((path for path in visible if os.path.exists(path)), landlock.READ)
        return grants | {"/dev/null": landlock.READ_WRITE_FILE, namespaces.SCRATCH_PARENT: landlock.SCRATCH}

    def serve(self) -> NoReturn:
        """Fork, and report what has ended, until the server has gone."""
        control, children = self._control, self._children
        poll = select.poll()
        poll.register(control, select.POLLIN)
        while True:
            ready = poll.poll(_NEWS_WAIT_MS if self._news else None)
            if not ready:
                self._tell(b"")
            for descriptor, _ in ready:
                if descriptor in children:
                    poll.unregister(descriptor)
                    self._reap(descriptor)
                    continue

                packet = control.recv(_PACKET_BYTES)
                if not packet:
                    os._exit(0)
                if packet == PING:
                    self._tell(REPLY.pack(PONG, 0))
                elif (child := self._fork(packet)) is not None:
                    poll.register(child, select.POLLIN)

    def _tell(self, reply: bytes, descriptors: bytes = b"") -> None:
        """Send a reply, and with it what has ended since the last one: a packet of its own would wake the server."""
        news, self._news = self._news, b""
        self._control.sendmsg([news, reply], [(SOL_SOCKET, SCM_RIGHTS, descriptors)] if descriptors else [])

    def _reap(self, descriptor: int) -> None:
        pid, number = self._children.pop(descriptor)
        os.close(descriptor)
        _, status, usage = os.wait4(pid, 0)
        cpu_s, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
        self._news += EXITED_HEAD.pack(EXITED, number, status, cpu_s, peak)

    def _fork(self, packet: bytes) -> int | None:
        """A child as the message wants it; its pid descriptor, None if the kernel refuses.

        What comes after the fork is kept short: it writes to pages that are shared with the child until then.
        """
        number, warm, memory_bytes, cpu_s, scratch_bytes = REQUEST.unpack(packet)
        opened: list[int] = []
        try:
            for _ in range(4):
                opened += os.pipe()
            jobs, ours_jobs, ours_output, output, ours_errors, errors, ours_results, results = opened
            for descriptor in (ours_jobs, ours_output, ours_errors, ours_results):
                os.set_blocking(descriptor, False)
            pid = self._fork_process()
            if pid == 0:
                limits = Limits(self._mapped_bytes + memory_bytes, cpu_s, scratch_bytes)
                become_child(self._walls, Pipes(output, errors, results, jobs), limits, self._state, warm=warm)
            child = os.pidfd_open(pid)
            self._children[child] = pid, number
            rights = _RIGHTS.pack(ours_jobs, ours_output, ours_errors, ours_results, child)
            self._tell(REPLY.pack(FORKED, number), rights)
        except OSError as error:
            self._tell(REPLY.pack(UNFORKED, number) + str(error).encode("utf-8", "replace"))
            return None
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return child

    def _fork_process(self) -> int:
        if not self._own_pids:
            return os.fork()

        namespaces.next_child_alone()
        try:
            pid = os.fork()
        except OSError:
            namespaces.enter_own_pids(self._own)
            raise
        if pid:
            namespaces.enter_own_pids(self._own)
        return pid


def _text(path: str) -> str:
    with open(path) as stream:
        return stream.read()


def _fork_first_of_namespace() -> None:
    """Go on as pid 1 of the new namespace; the process that was there waits for it, and ends with it."""
    first = os.fork()
    if first:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.syscall("close_range", 0, 0x7FFFFFFF, 0)
        _, status = os.waitpid(first, 0)
        os._exit(0 if status == 0 else 1)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getpid() != 1:
        raise RuntimeError("the new process namespace did not take effect")
