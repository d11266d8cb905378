"""`Recording`: exchanges written down as they happen, and given again without a network.

    transport = Recording.record("run.jsonl", plain_transport())    # asks, and writes down
    transport = Recording.replay("run.jsonl")                       # asks nobody

A file holds one exchange in each line, as JSON:

    {"request": {"method", "url", "body"}, "response": {"status", "headers", "body" or "body_base64"}}

- Secrets do not get into it: headers that carry them are left out, and their values, those of telling parameters of the
  address and those that the caller names are struck out wherever else they stand, in answers too.
- A replay is exact. An exchange is known by method, address and body; asked for again, it gives what was answered then,
  in the order of then, and no more often than then.
"""

import base64
import hashlib
import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from moesaic.errors import InputError, StorageError, UnrecordedExchangeError
from moesaic.tools.page.address_policy import shown_url
from moesaic.tools.page.body import read_body

__all__ = ["STRUCK_OUT", "Recording"]

STRUCK_OUT = "[removed]"
"""What stands in a file where a secret was."""

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie", "x-subscription-token"})
_SECRET_PARAMETER = re.compile(r"(?i)([?&][^=&#]*(?:key|token|secret|password|signature)=)[^&#]+")
_SECRET_FIELD = re.compile(r'(?i)("[\w-]*(?:api_?key|token|secret|password)"\s*:\s*")(?:[^"\\]|\\.)+')
_LEFT_OUT = frozenset({"connection", "content-encoding", "content-length", "date", "transfer-encoding"})
_RECORDED_BYTES = 32 * 2**20
_SHORTEST_SECRET = 6

_Key = tuple[str, str, str]


class Recording(httpx.AsyncBaseTransport):
    """An httpx transport; make it with `record` or `replay`."""

    def __init__(self, path: Path, inner: httpx.AsyncBaseTransport | None, secrets: Sequence[str]) -> None:
        self.path = path
        self._inner = inner
        self._secrets = tuple(secrets)
        self._lock = threading.Lock()
        self._answers: dict[_Key, deque[dict[str, Any]]] = defaultdict(deque)

    @classmethod
    def record(cls, path: str | Path, transport: httpx.AsyncBaseTransport, *, secrets: Sequence[str] = ()) -> Self:
        """Send requests on, and append each exchange to a file.

        Args:
            path: the file; what it holds already stays.
            transport: what carries the requests.
            secrets: further values that must not get into the file.

        Raises:
            StorageError: the file cannot be written.
        """
        made = cls(Path(path), transport, secrets)
        made._append("")
        return made

    @classmethod
    def replay(cls, path: str | Path) -> Self:
        """Answer from a file.

        Raises:
            InputError: there is no such file, or it is no recording.
        """
        made = cls(Path(path), None, ())
        try:
            lines = made.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be replayed ({error}): record it first") from error

        for number, line in enumerate(lines, start=1):
            try:
                exchange = json.loads(line)
                asked, response = exchange["request"], exchange["response"]
                key = (asked["method"], asked["url"], asked["body"])
                _response(response)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}, line {number}, is no recorded exchange ({error!r}): record it anew"
                ) from error

            made._answers[key].append(response)
        return made

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, or give what was answered then.

        Raises:
            UnrecordedExchangeError: a replay does not hold the exchange, or has given it as often as it was recorded.
            StorageError: the exchange cannot be written down.
        """
        body = await request.aread()
        secrets = (*self._secrets, *_secrets_of(request))
        key = (request.method, _struck(str(request.url), secrets), _body_key(body, secrets))
        if self._inner is None:
            return _response(self._recorded(key))

        response = await self._inner.handle_async_request(request)
        try:
            encoding = response.headers.get("content-encoding", "")
            stream: Any = response.stream
            content = await read_body(stream, encoding=encoding, limit=_RECORDED_BYTES, url=shown_url(request.url))
        finally:
            await response.aclose()
        written = _written(response, content, secrets)
        asked = dict(zip(("method", "url", "body"), key, strict=True))
        self._append(json.dumps({"request": asked, "response": written}, ensure_ascii=False) + "\n")
        return _response(written)

    def _recorded(self, key: _Key) -> dict[str, Any]:
        with self._lock:
            answers = self._answers.get(key)
            if answers:
                return answers.popleft()

        method, url, _ = key
        how_often = "" if answers is None else " that often"
        raise UnrecordedExchangeError(
            f"{self.path} does not hold {method} {shown_url(url)!r}{how_often}; it was recorded with other queries, "
            "options or cached answers: record it anew"
        )

    def _append(self, text: str) -> None:
        try:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise StorageError(f"cannot write the recording {self.path} ({error}): choose another place") from error


def _secrets_of(request: httpx.Request) -> list[str]:
    given = [value for name, value in request.headers.items() if name in _SECRET_HEADERS]
    # "Bearer KEY" is as secret as the KEY alone, which is what an answer would repeat.
    return [part for value in given for part in (value, value.rpartition(" ")[2]) if len(part) >= _SHORTEST_SECRET]


def _struck(text: str, secrets: Sequence[str]) -> str:
    for secret in sorted(set(secrets), key=len, reverse=True):
        text = text.replace(secret, STRUCK_OUT).replace(quote(secret, safe=""), STRUCK_OUT)
    text = _SECRET_PARAMETER.sub(rf"\g<1>{STRUCK_OUT}", text)
    return _SECRET_FIELD.sub(rf"\g<1>{STRUCK_OUT}", text)


def _body_key(body: bytes, secrets: Sequence[str]) -> str:
    try:
        return _struck(body.decode("utf-8"), secrets)
    except UnicodeDecodeError:
        return "sha256:" + hashlib.sha256(body).hexdigest()


def _written(response: httpx.Response, content: bytes, secrets: Sequence[str]) -> dict[str, Any]:
    headers = [
        [name, _struck(value, secrets)]
        for name, value in response.headers.multi_items()
        if name not in _LEFT_OUT | _SECRET_HEADERS
    ]
    for secret in secrets:
        content = content.replace(secret.encode(), STRUCK_OUT.encode())  # in bytes, for what is no UTF-8
    try:
        return {"status": response.status_code, "headers": headers, "body": _struck(content.decode("utf-8"), secrets)}
    except UnicodeDecodeError:
        body = base64.b64encode(content).decode("ascii")
        return {"status": response.status_code, "headers": headers, "body_base64": body}


def _response(written: dict[str, Any]) -> httpx.Response:
    if "body" in written:
        content = written["body"].encode("utf-8")
    else:
        content = base64.b64decode(written["body_base64"], validate=True)
    headers = [(str(name), str(value)) for name, value in written["headers"]]
    return httpx.Response(int(written["status"]), headers=headers, stream=httpx.ByteStream(content))
