"""Has the host's files read by Python's own machinery: loaders, runners, line caches, configuration readers.

Class: files
Must: no-secret, no-host-file
Status: ok, error
Value: []
"""

import importlib
import importlib.machinery
import linecache


def module(name):
    return importlib.import_module(name)


def lines():
    if not linecache.getlines("@FILE@"):
        raise OSError("nothing read")


def attempts():
    yield "loader", lambda: importlib.machinery.SourceFileLoader("m", "@FILE@").load_module()
    yield "data", lambda: importlib.machinery.SourceFileLoader("m", "@FILE@").get_data("@FILE@")
    yield "runpy", lambda: module("runpy").run_path("@FILE@")
    yield "linecache", lines
    yield "configparser", lambda: 1 / len(module("configparser").ConfigParser().read("@FILE@"))
    yield "netrc", lambda: module("netrc").netrc("@FILE@")
    yield "mimetypes", lambda: module("mimetypes").MimeTypes().read("@FILE@")
    yield "zipfile", lambda: module("zipfile").ZipFile("@FILE@", "a")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
