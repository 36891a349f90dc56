"""Styles, titles, lyrics, tags and judgements from a language model behind OpenAI's protocol.

So vLLM or ``ray.serve.llm`` runs in an image of its own with the CUDA stack that it pins; this process stays small.
"""

import asyncio
import time
from typing import Any

from serving.engines.openai_server import ChatServer, read_key, read_options
from serving.engines.protocol import NO_SOURCES
from serving.engines.setup import Setup
from serving.engines.song_words import WordsTask, task_of, words_of, words_without_asking
from serving.engines.song_words_schema import loosened
from serving.engines.words_takes import words_takes
from serving.engines.words_teller import WordsTeller
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Sources, Take


class OpenaiWords:
    """Asks a server. All takes are asked for at once, so that it can batch them.

    The seed is passed on; whether the same one gives the same text is up to the server.

    Args:
        setup: its options are those of `serving.engines.openai_server.ServerOptions`.

    Raises:
        BadServerOptions: when they do not say where the server is.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._options = read_options(setup.spec.name, setup.options)
        self._server = ChatServer(self._options, key=read_key(setup.spec.name, self._options))

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return self._setup.spec

    def load(self) -> None:
        """See that the server is there and has the model.

        Raises:
            WordsServerAway, WordsServerBusy, WordsServerFailed, WordsServerRefused.
        """
        asyncio.run(self._server.check())

    def unload(self) -> None:
        """Nothing to give back."""

    def make(
        self,
        brief: Brief,
        on_progress: OnProgress,
        sources: Sources = NO_SOURCES,  # noqa: ARG002 - its spec has no task that needs any
    ) -> tuple[Take, ...]:
        """Write every take. ``Progress.text`` carries the lyrics of the first one as they come.

        Must be called outside any event loop: it runs one.

        Raises:
            UnfitBrief, Cancelled: as every engine.
            WordsServerAway, WordsServerBusy, WordsServerFailed, UnusableAnswer: another attempt may do better.
            WordsServerRefused: it will not.
        """
        self.spec.fit(brief)
        begun = time.perf_counter()
        task = task_of(brief, self.spec)
        teller = WordsTeller(on_progress, takes=brief.takes, most_letters=task.most_letters if task else 1)
        teller.begin()
        if task is None:
            words = [words_without_asking(brief)] * brief.takes
        else:
            answers = asyncio.run(self._answers(brief, task, teller))
            words = [words_of(brief, task, answer) for answer in answers]
        teller.end()
        settings = {"model": self._options.model, "temperature": task.temperature if task else None}
        seconds = (time.perf_counter() - begun) / brief.takes
        return words_takes(brief, self.spec, words, settings=settings, seconds=seconds)

    async def _answers(self, brief: Brief, task: WordsTask, teller: WordsTeller) -> list[str]:
        # the first error ends this call, and with it the loop and all connections
        return await asyncio.gather(*(self._answer(brief, task, teller, index) for index in range(brief.takes)))

    async def _answer(self, brief: Brief, task: WordsTask, teller: WordsTeller, index: int) -> str:
        answer = await self._server.chat(
            _body(task, brief.take_seed(index)),
            on_piece=lambda piece: teller.add(index, piece),
            on_wait=teller.still,
        )
        teller.finish(index)
        return answer


def _body(task: WordsTask, seed: int) -> dict[str, Any]:
    schema = {"name": "song_words", "strict": True, "schema": loosened(task.schema)}
    return {
        "messages": list(task.messages),
        "response_format": {"type": "json_schema", "json_schema": schema},
        "temperature": task.temperature,
        "top_p": 0.9,
        "seed": seed,
        "max_tokens": task.most_tokens,
    }
