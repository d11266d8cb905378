"""From the name of a host to its addresses: the system's own way, and a double that says what it is told to."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from moesaic.errors import PageError

__all__ = ["Resolver", "ScriptedResolver", "SystemResolver"]


@runtime_checkable
class Resolver(Protocol):
    """Looks names up."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, those to try first in front.

        Raises:
            PageError: there is none.
        """


class SystemResolver:
    """The system's resolver: hosts file, search domains and name servers as this machine is set up."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, each once."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise PageError(f"the host {host!r} has no address ({error}): check its name", url=host) from error

        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class ScriptedResolver:
    """A double without a name server.

    Args:
        answers: for each host the answers of its look-ups, one after the other; the last one is given from then on.
    """

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {host: list(given) for host, given in answers.items()}
        self.lookups: list[str] = []
        """Hosts that were asked for, in order."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The next answer for a host."""
        self.lookups.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise PageError(f"the host {host!r} has no address: it is not in the script", url=host)

        return answers.pop(0) if len(answers) > 1 else answers[0]
