"""Songs from a running ACE-Step API server: the door for the project's own server, wherever it runs.

For those who already run it, want its language model (``thinking``), or have weights that are not in diffusers' format.
The server decides what it is asked and when: each take is one task in its queue, made from its own seed, so that any
take can be made again alone. Its published contract knows no cancelling: when nobody waits any more we stop asking,
and what the server has begun it finishes in vain.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from serving.engines.acestep_client import AceStepServer, trust
from serving.engines.acestep_order import AceStepApiOptions, Order
from serving.engines.protocol import NO_SOURCES
from serving.engines.setup import Setup
from studio.errors import MelodeonError
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Progress, Sources, Take

TELL_S: Final = 0.25


class BadServerOptions(MelodeonError):
    """The options of this engine are not as they should be."""

    code = "bad_engine_options"

    def __init__(self, engine: str, problem: str) -> None:
        super().__init__(f"The options of engine “{engine}” cannot be used: {problem}")


class ServerTooSlow(MelodeonError):
    """The server did not make the song in its time."""

    code = "deadline"

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"The ACE-Step server did not make the song within {deadline_s:g} s.")


class AceStepApi:
    """Speaks to one ACE-Step API server.

    Args:
        setup: its ``options`` are `AceStepApiOptions`; its spec says whether the server's model follows guidance
            (base and sft do, turbo does not) and which tasks it does.

    Raises:
        BadServerOptions: an option is missing, unknown or wrong.
    """

    def __init__(self, setup: Setup) -> None:
        self._spec = setup.spec
        try:
            self._options = AceStepApiOptions.model_validate(dict(setup.options))
        except ValidationError as error:
            first = error.errors()[0]
            raise BadServerOptions(self._spec.name, f"{first['loc'][0]}: {first['msg']}.") from None
        self._url = _checked_url(self._spec.name, self._options.url)
        self._tls = trust()
        self._ready = False

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return self._spec

    def load(self) -> None:
        """See whether the server is there, takes our key and has the model.

        Raises:
            ServerUnavailable: it is not, or does not.
            BadServerOptions: it has no such model.
        """
        if not self._ready:
            names = asyncio.run(self._models())
            if self._options.model and names and self._options.model not in names:
                raise BadServerOptions(self._spec.name, f"the server has the models {', '.join(names)}.")
            self._ready = True

    def unload(self) -> None:
        """Nothing of the server's is held here."""
        self._ready = False

    def make(self, brief: Brief, on_progress: OnProgress, sources: Sources = NO_SOURCES) -> tuple[Take, ...]:
        """Have every take made, all in the server's queue at once.

        Raises:
            UnfitBrief, Cancelled: as every engine.
            ServerUnavailable, ServerBusy, TaskLost: try again later.
            ServerRefused, TaskFailed, ServerTooSlow, BadAnswer: it cannot make this.
        """
        self._spec.fit(brief)
        on_progress(Progress(fraction=0.0, message="Asking the ACE-Step server"))
        takes = asyncio.run(self._watched(brief, on_progress, sources))
        on_progress(Progress(fraction=1.0, message="Made"))
        return takes

    async def _models(self) -> tuple[str, ...]:
        async with AceStepServer.session(self._url, self._key(), self._tls) as server:
            return await server.models()

    async def _watched(self, brief: Brief, on_progress: OnProgress, sources: Sources) -> tuple[Take, ...]:
        """Tell how far it is while the work goes on; when telling raises, the work is dropped where it is."""
        order = Order(brief, self._spec, self._options, sources)
        work = asyncio.create_task(self._work(order))
        try:
            async with asyncio.timeout(self._options.deadline_s):
                while not (await asyncio.wait({work}, timeout=TELL_S))[0]:
                    on_progress(order.progress)
            return work.result()
        except TimeoutError:
            raise ServerTooSlow(self._options.deadline_s) from None
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self, order: Order) -> tuple[Take, ...]:
        begun = time.perf_counter()
        async with AceStepServer.session(self._url, self._key(), self._tls) as server:
            with tempfile.TemporaryDirectory(prefix="acestep-") as folder:
                results = await order.made(server, Path(folder))
                clips = [await order.fetched(server, result, Path(folder)) for result in results]
        seconds = (time.perf_counter() - begun) / len(clips)
        pairs = zip(clips, results, strict=True)
        return tuple(order.take(index, clip, result, seconds) for index, (clip, result) in enumerate(pairs))

    def _key(self) -> str:
        if self._options.key_file is None:
            return ""
        try:
            return self._options.key_file.read_text("utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise BadServerOptions(self._spec.name, f"key_file: {type(error).__name__}.") from None


def _checked_url(engine: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadServerOptions(engine, "url: it cannot be read.") from None
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and port != 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise BadServerOptions(engine, "url: write it like http://127.0.0.1:8001, without a name, key or query in it.")
    return url.rstrip("/")
