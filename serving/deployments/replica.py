"""What every engine's deployment does: host one engine on the machine it was placed on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from configs import logs
from configs.secrets import load_or_create
from configs.settings import settings
from data.object_store import open_store
from serving.contract import MakeRequest, event_line
from serving.deployments.finishing import Finisher
from serving.deployments.host import EngineHost
from serving.engines.registry import body_of


class Replica:
    """One engine in one process. It reads the settings and secrets of the machine where it stands.

    Secrets are never arguments of a deployment: Ray would keep them in its control store.
    """

    def __init__(self, engine: str) -> None:
        chosen = settings()
        logs.configure(chosen.logs, part=engine)
        store = open_store(chosen.store, var=chosen.var, link_key=load_or_create(chosen.var).link_key)
        body = body_of(engine)
        scratch = chosen.var / "scratch"
        finisher = Finisher(store, spec=body.spec, scratch=scratch, clock=lambda: datetime.now(UTC))
        self._host = EngineHost(body, finisher)
        self._host.load()

    async def make(self, request: bytes) -> AsyncGenerator[bytes, None]:
        """Answer a `MakeRequest` in JSON with event lines."""
        async with aclosing(self._host.make(MakeRequest.model_validate_json(request))) as events:
            async for event in events:
                yield event_line(event)

    def check_health(self) -> None:
        """Asked by Serve every few seconds; raises when this replica should be replaced."""
        self._host.check_health()
