"""Reads, writes and lists through path objects alone, which restricted interpreters offer too.

Class: files
Must: no-host-file, no-secret
Status: ok, error
Value: []
"""

from pathlib import Path

ATTEMPTS = [
    ("read", lambda: Path("@FILE@").read_text()),
    ("bytes", lambda: Path("/etc/passwd").read_bytes()),
    ("environment", lambda: Path("/proc/self/environ").read_bytes()),
    ("write", lambda: Path("@FOLDER@/@MARK@").write_text("here")),
    ("folder", lambda: Path("@FOLDER@/@MARK@-folder").mkdir()),
    ("remove", lambda: Path("@FOLDER@/bait-1").unlink()),
    ("list", lambda: next(iter(Path("@FOLDER@").iterdir()))),
    ("stat", lambda: Path("@FILE@").stat()),
    ("exists", lambda: 1 / Path("@FILE@").exists()),
    ("resolve", lambda: Path("@FOLDER@/../@BASENAME@/secret.txt").resolve(strict=True)),
]


def solution():
    succeeded = []
    for name, attempt in ATTEMPTS:
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
