"""Qwen and its like: styles, titles, lyrics, tags and judgements from a chat model on this machine."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from serving.engines.device import smaller_once
from serving.engines.protocol import NO_SOURCES
from serving.engines.setup import Setup
from serving.engines.song_words import WordsTask, task_of, words_of, words_without_asking
from serving.engines.song_words_text import UnusableAnswer
from serving.engines.words_takes import words_takes
from serving.engines.words_teller import WordsTeller
from studio.words.brief import Brief
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Sources, Take, Words

if TYPE_CHECKING:
    from serving.engines.language_model import Ask, LanguageModel, Written

_TOP_P: Final = 0.9


class Qwen:
    """Any chat model of transformers. What the person wrote stays; only what is missing is asked for.

    With ``takes_together`` in the catalogue all takes are written in one batch: faster on a card, but a take made
    again alone may then differ, because rounding depends on the size of a batch. Without, takes are written one by
    one and are the same every time.

    Args:
        setup: with the folder of the checkpoint.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._model: LanguageModel | None = None

    @property
    def spec(self) -> EngineSpec:
        """The catalogue's entry."""
        return self._setup.spec

    def load(self) -> None:
        """Weights into memory.

        Raises:
            NoDevice, NotEnoughMemory: see `serving.engines.device`.
            BadLanguageModel: when the checkpoint is not usable.
        """
        self._loaded()

    def unload(self) -> None:
        """Give the memory back."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def make(
        self,
        brief: Brief,
        on_progress: OnProgress,
        sources: Sources = NO_SOURCES,  # noqa: ARG002 - its spec has no task that needs any
    ) -> tuple[Take, ...]:
        """Write every take. ``Progress.text`` carries the lyrics of the first one as they come.

        Raises:
            UnfitBrief, Cancelled: as every engine.
            UnusableAnswer: the model's answer cannot be used; another attempt may do better.
            NotFinite: the model computes nonsense.
            OutOfMemory: not even one take at a time fits.
        """
        self.spec.fit(brief)
        begun = time.perf_counter()
        task = task_of(brief, self.spec)
        teller = WordsTeller(on_progress, takes=brief.takes, most_letters=task.most_letters if task else 1)
        teller.begin()
        words = [words_without_asking(brief)] * brief.takes if task is None else self._written(brief, task, teller)
        teller.end()
        settings = {"temperature": task.temperature, "top_p": _TOP_P} if task else {}
        seconds = (time.perf_counter() - begun) / brief.takes
        return words_takes(brief, self.spec, words, settings=settings, seconds=seconds)

    def _loaded(self) -> "LanguageModel":
        if self._model is None:
            from serving.engines.language_model import load_language_model

            self._model = load_language_model(self._setup)
        return self._model

    def _written(self, brief: Brief, task: WordsTask, teller: WordsTeller) -> list[Words]:
        answers = smaller_once(lambda smaller: self._attempt(brief, task, teller, smaller=smaller))
        return [words_of(brief, task, answer) for answer in answers]

    def _attempt(self, brief: Brief, task: WordsTask, teller: WordsTeller, *, smaller: bool) -> list[str]:
        if smaller:
            teller.begin_again()
        together = self.spec.takes_together and brief.takes > 1 and not smaller
        return self._answers(brief, task, teller, together=together)

    def _answers(self, brief: Brief, task: WordsTask, teller: WordsTeller, *, together: bool) -> list[str]:
        model = self._loaded()
        indices = range(brief.takes)
        if together:
            return _texts(model.write([self._ask(model, brief, task, index) for index in indices], teller.add))
        answers = []
        for index in indices:
            ask = self._ask(model, brief, task, index)
            answers += _texts(model.write([ask], teller.for_take(index)))
            teller.finish(index)
        return answers

    def _ask(self, model: "LanguageModel", brief: Brief, task: WordsTask, index: int) -> "Ask":
        from serving.engines.language_model import Ask
        from serving.engines.language_pen import Sampling

        return Ask(
            prompt=model.prompt(task.messages),
            rule=model.json_rule(task.schema),
            seed=brief.take_seed(index),
            most_tokens=task.most_tokens,
            sampling=Sampling(temperature=task.temperature, top_p=_TOP_P),
        )


def _texts(written: "Sequence[Written]") -> list[str]:
    if not all(one.whole for one in written):
        raise UnusableAnswer("it did not come to an end")
    return [one.text for one in written]
