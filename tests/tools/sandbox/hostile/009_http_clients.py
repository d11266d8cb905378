"""Reaches for the host's loopback server through the libraries that programs usually take.

Class: network
Must: no-network
Status: ok, error
Value: []
"""

import asyncio
import http.client
import urllib.request

URL = "http://127.0.0.1:@PORT@/@MARK@"


async def opened():
    await asyncio.wait_for(asyncio.open_connection("127.0.0.1", int("@PORT@")), 1)


def request():
    connection = http.client.HTTPConnection("127.0.0.1", int("@PORT@"), timeout=1)
    connection.request("GET", "/@MARK@")


def mail():
    import smtplib

    smtplib.SMTP("127.0.0.1", int("@PORT@"), timeout=1)


def attempts():
    yield "urllib", lambda: urllib.request.urlopen(URL, timeout=1)
    yield "http.client", request
    yield "smtplib", mail
    yield "asyncio", lambda: asyncio.run(opened())
    yield "file", lambda: urllib.request.urlopen("file://@FILE@", timeout=1)


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
