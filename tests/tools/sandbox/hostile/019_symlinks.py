"""Places links that lead out, and reads and writes through them.

Class: files
Must: no-host-file, no-secret
Status: ok
Files: yes
Value: []
"""

import os


def through(target, mode):
    link = os.path.join(".", f"link-{abs(hash(target))}-{mode}")
    os.symlink(target, link)
    with open(link, mode) as file:
        if mode == "r":
            file.read(1)
        else:
            file.write("@MARK@")


def followed_by_the_host():
    os.symlink("@FILE@", "@FOLDER@/@MARK@")


def attempts():
    for target in ("@FILE@", "/etc/passwd", "/proc/self/environ", "../../../../../../../../@FILE@"):
        yield f"read {target}", lambda target=target: through(target, "r")
        yield f"write {target}", lambda target=target: through(target, "a")
    yield "planted", followed_by_the_host


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
