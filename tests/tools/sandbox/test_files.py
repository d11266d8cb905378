"""Files for a program: there, writable, limited, gone afterwards, and never a way out."""

import pytest

from moesaic.errors import InputError
from moesaic.tools.sandbox import ExecutionStatus, Sandbox, Tier
from tests.tools.sandbox.processes import patient


def test_given_files_stand_in_the_working_directory(open_sandbox: Sandbox) -> None:
    files = {"n.txt": b"41", "data/数.bin": bytes(range(256)), "empty": b""}
    program = (
        "import os\nn = int(open('n.txt').read())\nopen('new.txt', 'w').write('x')\n"
        "answer = [n + 1, len(open('data/数.bin', 'rb').read()), sorted(os.listdir('.')), os.getcwd()]"
    )
    for _ in range(2):  # what the first one wrote is not there for the second
        done = open_sandbox.run(program, files=files)
        assert done.value == [42, 256, ["data", "empty", "n.txt", "new.txt"], "/w/s"], done


def test_without_files_nothing_can_be_written(open_sandbox: Sandbox) -> None:
    for path in ("x.txt", "/w/x.txt", "/x.txt", "/tmp/x", "/dev/x"):
        done = open_sandbox.run(f"open({path!r}, 'w')")
        assert done.status is ExecutionStatus.ERROR, path
    assert open_sandbox.run("open('x.txt', 'w').write('x')", files={}).value == 1


def test_the_null_device_is_there(open_sandbox: Sandbox) -> None:
    assert open_sandbox.run("open('/dev/null', 'w').write('abc')").value == 3


@pytest.mark.parametrize(
    "program",
    [
        "open('big', 'wb').write(b'x' * (1 << 20))",
        "for i in range(10_000):\n    open(str(i), 'w').close()",
        "for i in range(200):\n    open(str(i), 'wb', buffering=0).write(b'x' * 4096)",
    ],
)
def test_the_working_directory_is_limited(program: str) -> None:
    with Sandbox(patient(scratch_bytes=256 * 1024, spares=0)) as sandbox:
        done = sandbox.run(program, files={})
        assert done.status is ExecutionStatus.ERROR
        assert done.error is not None
        assert done.error.type == "OSError"


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos.symlink('/', 'root')",
        "import os\nos.link('n.txt', 'again')",
        "import os\nos.chmod('n.txt', 0o777)",
        "import os\nos.mkfifo('pipe')",
        "import os\nos.execv('n.txt', ['n'])",
        "import ctypes\nctypes.CDLL('/w/s/n.txt')",
        "open('../../../../etc/passwd')",
        "import os\nos.listdir('/proc')",
    ],
)
def test_the_working_directory_leads_nowhere(open_sandbox: Sandbox, program: str) -> None:
    assert open_sandbox.run(program, files={"n.txt": b"\x7fELF"}).status is ExecutionStatus.ERROR


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../x": b""}, r"'\.\./x' must be a plain path"),
        ({"/etc/x": b""}, "plain path"),
        ({"": b""}, "plain path"),
        ({"a//b": b""}, "plain path"),
        ({"a/./b": b""}, "plain path"),
        ({"a\0b": b""}, "plain path"),
        ({"x" * 201: b""}, "200 characters"),
        ({"a/" * 9 + "b": b""}, "8 parts"),
        ({"x": "text"}, "must be bytes, not str"),
        ({str(n): b"" for n in range(65)}, "65 are too many"),
        ({"x": bytes(17 * 2**20)}, "do not fit into the scratch_bytes=16777216"),
    ],
)
def test_files_that_do_not_fit_are_refused(open_sandbox: Sandbox, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_sandbox.run("1", files=files)


def test_the_tier_without_files_says_so() -> None:
    with Sandbox(patient(tier=Tier.SECCOMP, spares=0)) as sandbox, pytest.raises(InputError, match="namespaces"):
        sandbox.run("1", files={"a": b""})
