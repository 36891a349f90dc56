"""Routing: what the gateway needs of whatever is behind it. `serve_router` is its body over Ray Serve."""

from collections.abc import AsyncGenerator
from typing import Final, Protocol

from serving.contract import ApplicationHealth, MakeRequest
from studio.errors import MelodeonError

RECYCLING: Final = "recycling"
"""Code of the only line of a replica that is about to be replaced and takes no calls."""


class NoReplicaFree(MelodeonError):
    """Every replica has its hands full and the line behind them is long enough."""

    code = "busy"

    def __init__(self, application: str, *, retry_after_s: float = 2.0) -> None:
        super().__init__(f"All replicas of {application} are busy; try again in {retry_after_s:g} s.")
        self.retry_after_s = retry_after_s


class NotReady(MelodeonError):
    """The application takes no calls now: it starts, is being replaced, or failed to start."""

    code = "not_ready"
    retry_after_s = 5.0

    def __init__(self, application: str, status: str) -> None:
        super().__init__(f"{application} is not ready ({status}); try again in {self.retry_after_s:g} s.")


class Router(Protocol):
    """Reaches the applications behind the gateway."""

    async def health(self) -> dict[str, ApplicationHealth]:
        """How each application is, not older than a second."""
        ...

    def stream(self, application: str, request: MakeRequest) -> AsyncGenerator[bytes, None]:
        """The event lines of one call. Closing it stops the replica.

        While no replica runs, the first lines say that one is being started. Raises `NoReplicaFree` or `NotReady`
        instead of the first line; whatever happens later is a ``failed`` line.
        """
        ...
