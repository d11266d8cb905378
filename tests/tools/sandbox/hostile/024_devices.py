"""Opens devices: memory, disks, terminals, consoles, tunnels, virtual machines.

Class: devices
Must: no-host-file
Status: ok
Value: []
"""

import os

DEVICES = (
    "mem",
    "kmsg",
    "port",
    "sda",
    "vda",
    "nvme0n1",
    "loop0",
    "loop-control",
    "tty",
    "console",
    "ptmx",
    "pts/0",
    "fuse",
    "kvm",
    "net/tun",
    "vhost-net",
    "vsock",
    "input/event0",
    "nvidia0",
    "nvidiactl",
    "dri/card0",
    "snd/controlC0",
    "rtc",
    "watchdog-not-there",
    "userfaultfd",
    "shm",
)


def attempts():
    for name in DEVICES:
        yield f"read {name}", lambda name=name: os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    yield "terminal", os.openpty
    yield "list", lambda: os.listdir("/dev/pts")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
