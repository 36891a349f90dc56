"""The 5 Hz planner of ACE-Step 1.5: tempo, key, metre, language and length before a song is made, or of a finished one.

It runs as a plain causal language model: the metadata under a grammar, the audio codes under a mask of token ids.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from serving.engines import planner_format as form
from serving.engines.device import smaller_once
from serving.engines.protocol import NO_SOURCES
from serving.engines.setup import Setup
from serving.engines.song_words_schema import lyrics_pattern
from serving.engines.song_words_text import UnusableAnswer, clean_line, clean_lyrics
from serving.engines.words_teller import WordsTeller
from studio.errors import MelodeonError
from studio.music.form import plan_sections
from studio.text.sections import format_lyrics, has_tags, parse_lyrics
from studio.words.brief import LYRICS_MAX, Brief, BriefKind, UnfitBrief
from studio.words.engine_spec import EngineSpec
from studio.words.take import OnProgress, Plan, Progress, Sources, Take, Words

if TYPE_CHECKING:
    from serving.engines.language_model import LanguageModel

_TEMPERATURE: Final = 0.85
_TOP_P: Final = 0.9
_GUIDANCE: Final = 2.0
_BLOCK_TOKENS: Final = 700
_BLOCK_LETTERS: Final = 450
_USUAL_BPM: Final = 110.0
_INSTRUMENTAL: Final = "[Instrumental]"


class NoCodes(MelodeonError):
    """The checkpoint's tokenizer has no audio codes: it is no planner."""

    code = "no_codes"

    def __init__(self, engine: str) -> None:
        super().__init__(f"The checkpoint of “{engine}” knows no audio codes; take one of ACE-Step's 5 Hz planners.")


class Planner:
    """Plans songs and understands sounds. The person's own values always stand.

    ``plan`` reads style and lyrics. ``understand`` reads audio codes, written as ``<|audio_code_N|>`` in the Brief's
    description, five for a second of sound; the tokenizer that makes them of a sound belongs to the music model.

    Args:
        setup: with the folder of the checkpoint. Option ``guidance``: scale of classifier-free guidance, 1 for none.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._guidance = float(setup.options.get("guidance", _GUIDANCE))
        self._model: LanguageModel | None = None
        self._codes: dict[int, int] = {}

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
            self._codes = {}

    def make(
        self,
        brief: Brief,
        on_progress: OnProgress,
        sources: Sources = NO_SOURCES,  # noqa: ARG002 - sounds come as codes
    ) -> tuple[Take, ...]:
        """One plan a take.

        Raises:
            UnfitBrief, Cancelled: as every engine; also when there is nothing to plan or to understand.
            UnusableAnswer: the model did not come to an end.
            OutOfMemory: not even after memory was given back does it fit.
        """
        self.spec.fit(brief)
        teller = WordsTeller(on_progress, takes=brief.takes, most_letters=_BLOCK_LETTERS)
        teller.begin()
        takes = []
        for index in range(brief.takes):
            begun = time.perf_counter()
            words = self._words(brief, index, teller)
            teller.finish(index)
            takes.append(self._take(brief, index, words, time.perf_counter() - begun))
        teller.end()
        return tuple(takes)

    def codes_for(self, brief: Brief, plan: Plan, *, seed: int, on_progress: OnProgress) -> tuple[int, ...]:
        """Audio codes of a song by this plan: five a second, exactly as many as its length needs.

        Raises:
            UnfitBrief: when neither brief nor plan says how long the song is.
            NoCodes: when the checkpoint is no planner.
            Cancelled: from ``on_progress``.
            OutOfMemory: not even after memory was given back does it fit.
        """
        if plan.duration_s is None:
            raise UnfitBrief("duration_s", "Say how long the song should be: its codes are counted by the second.")
        length_s = plan.duration_s
        furthest = 0.0

        def told(fraction: float) -> None:
            # codes that are written once more must not lead it back
            nonlocal furthest
            furthest = max(furthest, fraction)
            on_progress(Progress(fraction=furthest, message="Planning"))

        return smaller_once(lambda _: self._codes_once(brief, plan, length_s, seed=seed, told=told))

    def _codes_once(
        self, brief: Brief, plan: Plan, length_s: float, *, seed: int, told: Callable[[float], None]
    ) -> tuple[int, ...]:
        from serving.engines.language_model import Ask
        from serving.engines.language_pen import Sampling
        from serving.engines.planner_codes import CodesRule

        model = self._loaded()
        codes = self._known_codes()
        count = round(length_s) * form.CODES_A_SECOND
        chat = model.prompt(form.plan_messages(_caption(brief) or plan.caption, _lyrics(brief)), thinking=True)
        rule = CodesRule(codes, ends=model.ends, count=count)
        ask = Ask(
            prompt=_thinking(chat) + form.block_of(plan) + form.THOUGHT,
            against=_thinking(chat) + form.THOUGHT if self._guidance != 1 else "",
            guidance=self._guidance,
            rule=rule,
            seed=seed,
            most_tokens=count,
            sampling=Sampling(temperature=_TEMPERATURE, top_p=_TOP_P),
        )
        told(0.0)
        model.write([ask], lambda _, __: told(rule.written / count))
        return rule.codes

    def _loaded(self) -> "LanguageModel":
        if self._model is None:
            from serving.engines.language_model import load_language_model

            self._model = load_language_model(self._setup)
        return self._model

    def _known_codes(self) -> dict[int, int]:
        """Number by token id, read once: the vocabulary is large."""
        from serving.engines.planner_codes import code_tokens

        self._codes = self._codes or code_tokens(self._loaded().tokenizer)
        if not self._codes:
            raise NoCodes(self.spec.name)
        return self._codes

    def _words(self, brief: Brief, index: int, teller: WordsTeller) -> Words:
        made = self._understood if brief.kind is BriefKind.UNDERSTAND else self._planned
        return smaller_once(lambda _: made(brief, index, teller))

    def _planned(self, brief: Brief, index: int, teller: WordsTeller) -> Words:
        caption, lyrics = _caption(brief), _lyrics(brief)
        if not caption.strip() and not lyrics.strip():
            raise UnfitBrief("prompt", "There is nothing to plan yet; describe the song or write its lyrics.")
        block = self._block(
            brief,
            index,
            teller,
            messages=form.plan_messages(caption, lyrics),
            against=form.unconditional_messages(lyrics),
            known=form.known_lines(brief),
        )
        plan = form.plan_of(block, brief)
        plan = replace(plan, caption=brief.prompt or clean_line(plan.caption, form.CAPTION_MOST))
        return Words(prompt=plan.caption, title=brief.title, lyrics=_formatted(brief), plan=plan)

    def _understood(self, brief: Brief, index: int, teller: WordsTeller) -> Words:
        codes = form.codes_in(brief.description)
        if not codes:
            raise UnfitBrief("description", "There are no audio codes to understand; see the planner's documentation.")
        if strange := set(codes) - set(self._known_codes().values()):
            raise UnfitBrief("description", f"This planner does not know the audio code {min(strange)}.")
        # what a person said is no part of it: the sound alone is judged
        length_s = max(1, round(len(codes) / form.CODES_A_SECOND))
        messages = form.understand_messages(codes)
        known = {"duration": form.line_of("duration", length_s)}
        block = self._block(brief, index, teller, messages=messages, against=None, known=known)
        plan = replace(form.plan_of(block, Brief(kind=brief.kind)), duration_s=float(length_s))
        plan = replace(plan, caption=clean_line(plan.caption, form.CAPTION_MOST))
        lyrics = self._heard_lyrics(brief, index, teller, messages=messages, block=block, plan=plan)
        return Words(prompt=plan.caption, lyrics=lyrics, plan=plan)

    def _block(
        self,
        brief: Brief,
        index: int,
        teller: WordsTeller,
        *,
        messages: tuple[Mapping[str, str], ...],
        against: tuple[Mapping[str, str], ...] | None,
        known: Mapping[str, str],
    ) -> str:
        """The whole block of metadata, without the model where all of it is known."""
        wanted = form.metadata_form(known)
        if not wanted.pattern:
            return wanted.prefix
        model = self._loaded()
        prompt = _thinking(model.prompt(messages, thinking=True)) + wanted.prefix
        unconditional = ""
        if against is not None and self._guidance != 1:
            unconditional = _thinking(model.prompt(against, thinking=True)) + wanted.prefix
        return wanted.prefix + self._text(
            brief, index, teller, prompt=prompt, against=unconditional, pattern=wanted.pattern, most=_BLOCK_TOKENS
        )

    def _heard_lyrics(
        self,
        brief: Brief,
        index: int,
        teller: WordsTeller,
        *,
        messages: tuple[Mapping[str, str], ...],
        block: str,
        plan: Plan,
    ) -> str:
        """The lyrics that the model hears, as many as fit the length; none for an instrumental."""
        sections = plan_sections(plan.duration_s or 0.0, plan.tempo_bpm or _USUAL_BPM, instrumental=False)
        sung = [lines for _, lines in sections if lines]
        words = lyrics_pattern(len(sung) + 1, max(sung) + 1)
        prompt = _thinking(self._loaded().prompt(messages, thinking=True)) + block + form.THOUGHT + form.LYRIC_HEAD
        text = self._text(
            brief,
            index,
            teller,
            prompt=prompt,
            against="",
            pattern=rf"(\[Instrumental\]|{words})",
            most=_BLOCK_TOKENS + 160 * sum(sung),
        )
        return "" if text.strip() == _INSTRUMENTAL else clean_lyrics(text, LYRICS_MAX)

    def _text(
        self, brief: Brief, index: int, teller: WordsTeller, *, prompt: str, against: str, pattern: str, most: int
    ) -> str:
        from serving.engines.language_model import Ask
        from serving.engines.language_pen import Sampling

        model = self._loaded()
        ask = Ask(
            prompt=prompt,
            against=against,
            guidance=self._guidance,
            rule=model.regex_rule(pattern),
            seed=brief.take_seed(index),
            most_tokens=most,
            sampling=Sampling(temperature=_TEMPERATURE, top_p=_TOP_P),
        )
        (written,) = model.write([ask], teller.for_take(index))
        if not written.whole:
            raise UnusableAnswer("it did not come to an end")
        return written.text

    def _take(self, brief: Brief, index: int, words: Words, seconds: float) -> Take:
        settings = {control.name: getattr(brief.controls, control.name) for control in self.spec.controls}
        return Take(
            result=words,
            engine=self.spec.name,
            engine_version=self.spec.version,
            seed=brief.take_seed(index),
            settings={**settings, "temperature": _TEMPERATURE, "top_p": _TOP_P, "guidance": self._guidance},
            seconds=seconds,
        )


def _thinking(prompt: str) -> str:
    """The prompt up to where the block begins; some chat formats open the thoughts themselves."""
    return prompt if prompt.endswith(form.THINK) else prompt + form.THINK


def _caption(brief: Brief) -> str:
    return brief.prompt or brief.description


def _lyrics(brief: Brief) -> str:
    """As the music model is told them."""
    return _INSTRUMENTAL if brief.instrumental else brief.lyrics


def _formatted(brief: Brief) -> str:
    """The person's lyrics with their sections marked in the studio's way; every line stays as it is."""
    if brief.instrumental or not brief.lyrics.strip():
        return ""
    return format_lyrics(parse_lyrics(brief.lyrics)) if has_tags(brief.lyrics) else brief.lyrics.strip()
