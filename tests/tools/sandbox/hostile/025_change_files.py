"""Changes what the host says of a file: rights, owner, times, attributes, length, name. Landlock guards few of them.

Class: metadata
Must: no-host-file
Status: ok
Value: []
"""

import os


def attempts():
    for path in ("@FILE@", "@FOLDER@"):
        yield f"chmod {path}", lambda path=path: os.chmod(path, 0o777)
        yield f"chown {path}", lambda path=path: os.chown(path, os.getuid(), os.getgid())
        yield f"lchown {path}", lambda path=path: os.lchown(path, 65534, 65534)
        yield f"utime {path}", lambda path=path: os.utime(path, (1, 1))
        yield f"now {path}", lambda path=path: os.utime(path)
        yield f"setxattr {path}", lambda path=path: os.setxattr(path, "user.canary", b"@MARK@")
        yield f"removexattr {path}", lambda path=path: os.removexattr(path, "user.canary")
    yield "truncate", lambda: os.truncate("@FILE@", 1)
    yield "unlink", lambda: os.unlink("@FOLDER@/bait-1")
    yield "rmdir", lambda: os.rmdir("@FOLDER@/bait-2")
    yield "rename", lambda: os.rename("@FOLDER@/bait-1", "@FOLDER@/@MARK@")
    yield "replace", lambda: os.replace("@FOLDER@/bait-1", "@FOLDER@/secret.txt")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
