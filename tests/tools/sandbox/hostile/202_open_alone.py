"""Opens files with nothing but what needs no import.

Class: files
Must: no-host-file, no-secret
Status: ok, error
Value: []
"""


def opened(path, mode):
    with open(path, mode) as file:
        if "r" in mode:
            file.read()
        else:
            file.write("@MARK@")


ATTEMPTS = [
    ("read", lambda: opened("@FILE@", "r")),
    ("passwd", lambda: opened("/etc/passwd", "r")),
    ("bytes", lambda: opened("/proc/self/environ", "rb")),
    ("write", lambda: opened("@FOLDER@/@MARK@", "w")),
    ("append", lambda: opened("@FILE@", "a")),
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
