"""What a language model is asked for and what becomes of its answer: the same for our own models and for servers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from serving.engines.length import length_s
from serving.engines.song_words_schema import (
    LINE_MOST,
    MODERATION_REASONS,
    PROMPT_MOST,
    TEMPOS,
    TITLE_LEAST,
    TITLE_MOST,
    VOICES,
    lyrics_form,
    moderation_schema,
    tags_schema,
    texts_schema,
)
from serving.engines.song_words_text import UnusableAnswer, clean_line, clean_lyrics, has_letters, read_object
from studio.music.form import plan_sections
from studio.music.genres import usual_tempo
from studio.text.reading import read_style
from studio.text.sections import LyricSection, format_lyrics, parse_lyrics
from studio.text.style import Style
from studio.text.tags import GENRE_TAGS, MOOD_TAGS, SUBGENRE_TAGS, TAGS, TEMPO_TAGS
from studio.text.tags import MOST as TAGS_MOST
from studio.text.vocabulary import INSTRUMENTS
from studio.words.brief import LYRICS_MAX, Brief, BriefKind, UnfitBrief
from studio.words.engine_spec import EngineSpec
from studio.words.take import Words

KINDS: Final = (BriefKind.LYRICS, BriefKind.PROMPT, BriefKind.REFINE, BriefKind.TAGS, BriefKind.MODERATION)
_TAGS_LEAST: Final = 3
_ANSWER_PROMPT_MOST: Final = 512
_FRAME_TOKENS: Final = 96
_TOKENS_PER_LETTER: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsTask:
    """One question to a language model.

    Attributes:
        system, user: the messages; what the person wrote is JSON inside the second one.
        schema: of the answer, a JSON object.
        most_letters: about how long the longest answer is.
        temperature: how freely it is drawn.
        given: what the person wrote already and keeps.
    """

    system: str
    user: str
    schema: Mapping[str, Any]
    most_letters: int
    temperature: float
    given: Words = field(default_factory=Words)

    @property
    def messages(self) -> tuple[Mapping[str, str], ...]:
        """As chat models want them."""
        return ({"role": "system", "content": self.system}, {"role": "user", "content": self.user})

    @property
    def most_tokens(self) -> int:
        """Enough for any answer of the schema in the languages that tokenizers know well, twice over."""
        return _TOKENS_PER_LETTER * self.most_letters + _FRAME_TOKENS


def given_words(brief: Brief, style: Style) -> Words:
    """What the person wrote already; an instrumental has no lyrics."""
    instrumental = brief.instrumental or style.instrumental
    return Words(prompt=brief.prompt, title=brief.title, lyrics="" if instrumental else brief.lyrics)


def task_of(brief: Brief, spec: EngineSpec) -> WordsTask | None:
    """What must be asked for this brief; None when nothing is missing.

    Raises:
        UnfitBrief: when the text that the kind works on is not there.
    """
    if brief.kind is BriefKind.LYRICS:
        return _texts_task(brief, spec)
    if brief.kind is BriefKind.PROMPT:
        return _prompt_task(brief)
    if brief.kind is BriefKind.REFINE:
        return _refine_task(brief)
    return _tags_task(brief) if brief.kind is BriefKind.TAGS else _moderation_task(brief)


def words_without_asking(brief: Brief) -> Words:
    """The answer where `task_of` found nothing to ask."""
    if brief.kind is BriefKind.LYRICS:
        return given_words(brief, read_style(brief.music_text))
    return Words()


def words_of(brief: Brief, task: WordsTask, answer: str) -> Words:
    """The answer as words: validated, cleaned, within the limits; what was given stays.

    Raises:
        UnusableAnswer: when nothing can be made of it.
    """
    found = read_object(answer)
    try:
        if brief.kind is BriefKind.TAGS:
            return Words(tags=_tags(_TagsAnswer.model_validate(found), task.schema))
        if brief.kind is BriefKind.MODERATION:
            return Words(tags=_reasons(_ReasonsAnswer.model_validate(found)))
        texts = _TextsAnswer.model_validate(found)
    except ValidationError as error:
        raise UnusableAnswer(f"its “{'.'.join(map(str, error.errors()[0]['loc']))}” is not as it should be") from None
    return _texts(task, texts)


# the questions


def _texts_task(brief: Brief, spec: EngineSpec) -> WordsTask | None:
    style = read_style(brief.music_text)
    given = given_words(brief, style)
    instrumental = brief.instrumental or style.instrumental
    wanted = ("prompt", "title") if instrumental else ("prompt", "title", "lyrics")
    missing = [name for name in wanted if not getattr(given, name).strip()]
    if not missing:
        return None
    duration_s = length_s(brief, style, spec)
    form = _form(brief, style, duration_s)
    lines = max(count for _, count in form)
    rules = {
        "prompt": _text("rule_prompt"),
        "title": _text("rule_title"),
        "lyrics": _text("rule_lyrics", language=_language(brief), duration_s=f"{duration_s:g}", form=_spelled(form)),
    }
    request = {
        "description": brief.description,
        "about": brief.described_lyrics,
        "style": given.prompt,
        "title": given.title,
        "lyrics": given.lyrics,
        "instrumental": instrumental,
    }
    sections = len(form) + 1
    letters = {"prompt": PROMPT_MOST, "title": TITLE_MOST, "lyrics": sections * (lines + 1) * LINE_MOST}
    return WordsTask(
        system=_text("system"),
        user=_text(
            "lyrics",
            missing=", ".join(f'"{name}"' for name in missing),
            request=_as_data(request),
            rules="\n".join(rules[name] for name in missing),
        ),
        schema=texts_schema(missing, lyrics_form(sections, lines + 1, least=(sections + 1) // 2)),
        most_letters=sum(letters[name] for name in missing),
        temperature=0.8,
        given=given,
    )


def _prompt_task(brief: Brief) -> WordsTask:
    if not brief.music_text.strip():
        raise UnfitBrief("description", "Describe your song in a few words first.")
    request = {"description": brief.description, "style": brief.prompt, "instrumental": brief.instrumental}
    return WordsTask(
        system=_text("system"),
        user=_text("prompt", request=_as_data(request), rules=_text("rule_prompt")),
        schema=texts_schema(["prompt"], {}),
        most_letters=PROMPT_MOST,
        temperature=0.7,
    )


def _refine_task(brief: Brief) -> WordsTask:
    if not brief.lyrics.strip():
        raise UnfitBrief("lyrics", "There are no lyrics to rewrite yet; write some first.")
    if not brief.description.strip():
        raise UnfitBrief("description", "Say what should change in the lyrics.")
    sections = parse_lyrics(brief.lyrics)
    lines = max((len(section.lines) for section in sections), default=1) + 1
    line_most = max(LINE_MOST, *(len(line) + 20 for section in sections for line in section.lines), 0)
    request = {"change": brief.description, "lyrics": brief.lyrics, "style": brief.prompt, "title": brief.title}
    return WordsTask(
        system=_text("system"),
        user=_text("refine", request=_as_data(request)),
        schema=texts_schema(["lyrics"], lyrics_form(len(sections) + 1, lines, line_most=min(line_most, 200))),
        most_letters=min(2 * len(brief.lyrics) + 1_000, LYRICS_MAX),
        temperature=0.7,
    )


def _tags_task(brief: Brief) -> WordsTask:
    style = read_style(brief.music_text)
    tempo_bpm = brief.controls.tempo_bpm or style.tempo_bpm
    tempos = TEMPOS if tempo_bpm is None else (next(tag for tag, below in TEMPO_TAGS if tempo_bpm < below),)
    voices = ("instrumental",) if brief.instrumental or style.instrumental else VOICES
    return WordsTask(
        system=_text("system"),
        user=_text("tags", request=_as_data({**_song(brief), "tempo_bpm": tempo_bpm, "key": brief.controls.key})),
        schema=tags_schema(voices=voices, tempos=tempos),
        most_letters=200,
        temperature=0.2,
    )


def _moderation_task(brief: Brief) -> WordsTask | None:
    song = {name: text for name, text in _song(brief).items() if text}
    if not song:
        return None
    return WordsTask(
        system=_text("system"),
        user=_text("moderation", request=_as_data(song)),
        schema=moderation_schema(),
        most_letters=120,
        temperature=0.0,
    )


def _song(brief: Brief) -> dict[str, Any]:
    return {
        "description": brief.description,
        "style": brief.prompt,
        "title": brief.title,
        "lyrics": brief.lyrics,
    }


def _form(brief: Brief, style: Style, duration_s: float) -> list[tuple[str, int]]:
    """The sections with words that a song of this length has room for, and their lines."""
    tempo_bpm = brief.controls.tempo_bpm or style.tempo_bpm or usual_tempo(style, 0)
    plan = plan_sections(duration_s, tempo_bpm, instrumental=False)
    return [(name, count) for name, count in plan if count]


def _spelled(form: Sequence[tuple[str, int]]) -> str:
    tags = [format_lyrics([LyricSection(name=name)]) for name, _ in form]
    return ", ".join(f"{tag} {count} lines" for tag, (_, count) in zip(tags, form, strict=True))


def _language(brief: Brief) -> str:
    if brief.language:
        return f"in the language with the ISO 639 code “{brief.language}”"
    return "in the language in which the person writes unless another is asked for"


def _as_data(request: Mapping[str, Any]) -> str:
    """The request as JSON without any “<”: it can close neither its own frame nor name a control token."""
    told = {name: value for name, value in request.items() if value not in ("", None)}
    return json.dumps(told, ensure_ascii=False, indent=0).replace("<", "\\u003c")


@cache
def _template(name: str) -> Template:
    return Template(Path(__file__).with_name("prompts").joinpath(f"{name}.txt").read_text("utf-8").strip())


def _text(template: str, /, **values: str) -> str:
    return _template(template).substitute(values)


# the answers


def _joined(value: object) -> object:
    """Some servers give a text of many lines as a list of lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value


class _Answer(BaseModel):
    # a server without a grammar may add remarks of its own
    model_config = ConfigDict(extra="ignore", frozen=True)


class _TextsAnswer(_Answer):
    prompt: str = ""
    title: str = ""
    lyrics: Annotated[str, BeforeValidator(_joined)] = ""


class _TagsAnswer(_Answer):
    genre: str
    mood: str
    voice: str
    tempo: str
    details: tuple[str, ...] = ()


class _ReasonsAnswer(_Answer):
    reasons: tuple[str, ...]


def _texts(task: WordsTask, answer: _TextsAnswer) -> Words:
    members = task.schema["properties"]
    prompt, title, lyrics = task.given.prompt, task.given.title, task.given.lyrics
    if "prompt" in members:
        prompt = clean_line(answer.prompt, _ANSWER_PROMPT_MOST)
        if not has_letters(prompt):
            raise UnusableAnswer("the style is empty")
    if "title" in members:
        title = clean_line(answer.title, TITLE_MOST)
        if len(title) < TITLE_LEAST or not has_letters(title):
            raise UnusableAnswer("the title is empty")
    if "lyrics" in members:
        lyrics = clean_lyrics(answer.lyrics, LYRICS_MAX)
        if not any(has_letters(line) for section in parse_lyrics(lyrics) for line in section.lines):
            raise UnusableAnswer("the lyrics are empty")
    return Words(prompt=prompt, title=title, lyrics=lyrics)


def _tags(answer: _TagsAnswer, schema: Mapping[str, Any]) -> tuple[str, ...]:
    facets = schema["properties"]
    # what is known already is not up to the model
    known = {name: facets[name]["enum"][0] for name in ("voice", "tempo") if len(facets[name]["enum"]) == 1}
    said = [answer.genre, answer.mood, known.get("voice", answer.voice), known.get("tempo", answer.tempo)]
    found = [_tag(text) for text in (*said, *answer.details)]
    tags = tuple(dict.fromkeys(tag for tag in found if tag is not None))[:TAGS_MOST]
    if len(tags) < _TAGS_LEAST:
        raise UnusableAnswer("it names too few tags that exist")
    return tags


def _tag(text: str) -> str | None:
    """The tag that is meant, also by one of its synonyms."""
    word = " ".join(text.casefold().split())
    return word if word in TAGS else _synonyms().get(word)


@cache
def _synonyms() -> Mapping[str, str]:
    tables = (SUBGENRE_TAGS, MOOD_TAGS, INSTRUMENTS)
    meant = {word: tag for table in tables for tag, words in table.items() for word in words}
    return meant | dict(GENRE_TAGS)


def _reasons(answer: _ReasonsAnswer) -> tuple[str, ...]:
    reasons = tuple(dict.fromkeys(" ".join(reason.casefold().split()) for reason in answer.reasons))
    if unknown := [reason for reason in reasons if reason not in MODERATION_REASONS]:
        # dropping one would let a refused text pass
        raise UnusableAnswer(f"“{clean_line(unknown[0], 40)}” is no reason that we know")
    return reasons
