"""Asks for the name of the machine.

Class: kernel information
Must: no-host-name
Status: ok, error, forbidden
Value: anything
Status in monty: ok, error
"""

import os
import platform
import socket


def solution():
    names = []
    for ask in (lambda: os.uname().nodename, platform.node, socket.gethostname, lambda: os.environ["HOSTNAME"]):
        try:
            names.append(ask())
        except Exception as error:
            names.append(type(error).__name__)
    return names
