"""What every engine's deployment does: host one engine, or several by turns, on the machine it was placed on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog

from configs import logs
from configs.settings import settings
from serving.contract import FailedEvent, MakeRequest, event_line
from serving.deployments.arguments import EngineArgs
from serving.deployments.host import EngineHost
from serving.deployments.metrics import RayMeter
from serving.deployments.opening import open_hosts
from serving.deployments.recycle import Recycling, TimeToRecycle
from serving.deployments.routing import RECYCLING
from serving.engines.device import resident_gb
from studio.errors import MelodeonError

log = structlog.get_logger(__name__)


class CannotStart(MelodeonError):
    """The application cannot run its engine. Ray shows the sentence, from which alone this is made, in its status."""

    code = "cannot_start"


class Unhealthy(MelodeonError):
    """This replica should be replaced. Ray carries the sentence, from which alone this is made, to its controller."""

    code = "unhealthy"


class Replica:
    """Engines in one process. It reads the settings and secrets of the machine where it stands.

    Secrets are never arguments of a deployment: Ray would keep them in its control store.
    """

    def __init__(self, args: EngineArgs) -> None:
        chosen = settings()
        logs.configure(chosen.logs, part="+".join(args.names))
        self._meter = RayMeter()
        self._recycling = Recycling(args.recycle.rule(), resident_gb)
        self._leaving = False
        try:
            self._hosts = open_hosts(args, chosen, meter=self._meter, note_made=self._recycling.note_made)
        except MelodeonError as error:
            raise CannotStart(error.sentence) from None
        self._first = self._hosts[args.names[0]]

    async def make(self, request: bytes) -> AsyncGenerator[bytes, None]:
        """Answer a `MakeRequest` in JSON with event lines."""
        asked = MakeRequest.model_validate_json(request)
        if self._recycling.overdue:
            yield event_line(FailedEvent(code=RECYCLING, sentence="This replica is being replaced.", retryable=True))
            return
        async with aclosing(self._host_of(asked).make(asked)) as answer:
            async for events in answer:
                yield b"".join(map(event_line, events))

    def figures(self) -> dict[str, float]:
        """Seconds that its engines took to load and to warm up."""
        hosts = self._hosts.values()
        return {
            "load_s": sum(host.load_s or 0.0 for host in hosts),
            "warm_up_s": sum(h.warm_up_s or 0.0 for h in hosts),
        }

    def check_health(self) -> None:
        """Asked by Serve every few seconds; raises when this replica should be replaced."""
        self._recycling.measure()
        try:
            for host in self._hosts.values():
                host.check_health()
            if not any(host.running for host in self._hosts.values()):
                self._recycling.check_idle()
        except MelodeonError as error:
            self._note(error)
            raise Unhealthy(error.sentence) from None

    def _note(self, error: MelodeonError) -> None:
        if not self._leaving:
            self._leaving = True
            log.warning("replica.unhealthy", code=error.code, reason=error.sentence)
            if isinstance(error, TimeToRecycle):
                self._meter.recycled(self._first.name)

    def _host_of(self, asked: MakeRequest) -> EngineHost:
        """The host of the engine that the gateway chose; the first one says so when it is none of ours."""
        return self._hosts.get(asked.brief.engine, self._first)
