"""Has the time zone, locale and codec machinery open files of the host by names that it chooses.

Class: files
Must: no-secret, no-host-file
Status: ok, error
Value: []
"""

import codecs
import gettext
import locale
import os
import time
import zoneinfo


def attempts():
    yield "zone", lambda: zoneinfo.ZoneInfo("../../../../../..@FILE@")
    yield "absolute zone", lambda: zoneinfo.ZoneInfo("@FILE@")
    yield "locale", lambda: locale.setlocale(locale.LC_ALL, "../..@FILE@")
    yield "codec", lambda: codecs.lookup("../../@FILE@")
    yield "messages", lambda: gettext.translation("secret", "@FOLDER@")
    yield "clock", clock


def clock():
    os.environ["TZ"] = ":@FILE@"
    time.tzset()
    if "canary" in str(time.tzname):
        return
    raise OSError("no zone")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
