"""What a server lets its owner see: Prometheus metrics, and a structured line of log for each call. Never a prompt."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from moesaic.errors import InputError
from moesaic.server.engine import EngineLoad

__all__ = ["CallRecord", "JsonFormatter", "Observation"]

_LOGGER = logging.getLogger("moesaic.server")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


@dataclass(kw_only=True)
class CallRecord:
    """One call, for log and metrics."""

    method: str
    principal: str = ""
    request_id: str = ""
    began: float = field(default_factory=time.perf_counter)
    first_s: float | None = None
    """Seconds to the first delta of a stream."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Observation:
    """Metrics and log of one server; each has a registry of its own, so that several fit into one process."""

    def __init__(self, load: Callable[[], EngineLoad]) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "moesaic_calls", "Calls that ended, by method and status code.", ("method", "code"), registry=self.registry
        )
        self._tokens = Counter("moesaic_tokens", "Tokens of prompts and answers.", ("kind",), registry=self.registry)
        self._seconds = Histogram(
            "moesaic_call_seconds", "Duration of calls.", ("method",), buckets=_SECONDS, registry=self.registry
        )
        self._first = Histogram(
            "moesaic_first_token_seconds",
            "Seconds to the first token of a stream.",
            ("method",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        for name, text, value in (
            ("running", "Sequences being computed.", lambda: load().running),
            ("waiting", "Sequences that wait for room.", lambda: load().waiting),
            ("kv_cache_usage", "Share of the cache that live sequences hold.", lambda: load().kv_cache_usage),
        ):
            Gauge(f"moesaic_engine_{name}", text, registry=self.registry).set_function(value)
        self._close: Callable[[], None] | None = None

    def serve(self, address: str) -> int:
        """Answer Prometheus over HTTP at HOST:PORT; give the port.

        Raises `InputError` if the address is taken.
        """
        host, _, port = address.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise InputError(f"metrics_listen={address!r}: {error.strerror}; choose another port") from error

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._close = close
        return int(server.server_port)

    def close(self) -> None:
        """Answer no more."""
        if self._close is not None:
            self._close()
            self._close = None

    def ended(self, call: CallRecord, code: str) -> None:
        """Count and log a call that has ended with a status code."""
        seconds = time.perf_counter() - call.began
        self._calls.labels(call.method, code).inc()
        self._seconds.labels(call.method).observe(seconds)
        if call.first_s is not None:
            self._first.labels(call.method).observe(call.first_s)
        if call.prompt_tokens:
            self._tokens.labels("prompt").inc(call.prompt_tokens)
            self._tokens.labels("completion").inc(call.completion_tokens)
        if _LOGGER.isEnabledFor(logging.INFO):
            facts = {
                "method": call.method,
                "code": code,
                "principal": call.principal,
                "request_id": call.request_id,
                "seconds": round(seconds, 4),
                "prompt_tokens": call.prompt_tokens,
                "completion_tokens": call.completion_tokens,
            }
            _LOGGER.info("call", extra={"facts": facts})


class JsonFormatter(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the record's time, level, logger, message and facts."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
