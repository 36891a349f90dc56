"""A causal language model from a local folder: chat prompts, texts under a grammar, streamed and reproducible.

Any checkpoint that transformers' ``AutoModelForCausalLM`` knows works: Qwen3, Qwen3.5, the 5 Hz planner. Import this
module only where a model is loaded: it brings torch and transformers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from llguidance import LLMatcher
from llguidance import hf as llguidance_hf
from safetensors import SafetensorError

from serving.engines.device import Device, choose_device, preflight_weights, release
from serving.engines.language_pen import GrammarRule, Pen, Row, Rule, Sampling, Shadow
from serving.engines.setup import Setup
from studio.errors import MelodeonError

_CLOSING: Final = frozenset('"]}\n\\') | frozenset(("\\n", '"}', '"]', '"]}', "]}", "\n\n"))
_REPLACEMENT: Final = "\ufffd"
_LONGEST_CHARACTER: Final = 4
"""Tokens that one character can take: the bytes of its UTF-8."""
_HASTEN_BEFORE: Final = 0.25

Message = Mapping[str, str]
"""``role`` ("system", "user", "assistant") and ``content``."""


class BadLanguageModel(MelodeonError):
    """The checkpoint cannot be used for writing."""

    code = "bad_language_model"

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(f"The checkpoint {folder.name} cannot be used as a language model: {problem}")


class TooLong(MelodeonError):
    """The request leaves no room for an answer."""

    code = "too_long"

    def __init__(self, tokens: int, most: int) -> None:
        super().__init__(f"The text is too long for this language model: {tokens} of {most} tokens. Shorten it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One text to be written.

    Attributes:
        prompt: with all control tokens, see `LanguageModel.prompt`.
        rule: what the text must look like; a new one for every ask.
        seed: the same ask with the same seed gives the same text.
        most_tokens: bound of its length. In the last quarter the pen takes the short way out: it closes a string, a
            line or a list as soon as the rule allows it, so that even a model that never stops ends whole.
        sampling: how tokens are drawn.
        against: the same prompt without its condition, for classifier-free guidance; empty: none.
        guidance: scale of that guidance; 1 changes nothing.
    """

    prompt: str
    rule: Rule
    seed: int
    most_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    against: str = ""
    guidance: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of an ask. ``whole`` is False when its tokens ran out before its rule was fulfilled."""

    text: str
    tokens: tuple[int, ...]
    whole: bool


OnText = Callable[[int, str], None]
"""Told for every token which row it belongs to and what text came with it (empty inside a character)."""


class LanguageModel:
    """One model on one device.

    Args:
        folder: config, safetensors, a fast tokenizer and its chat template.
        device: where it computes.

    Raises:
        BadLanguageModel: when the folder holds no such model.
    """

    def __init__(self, folder: Path, device: Device) -> None:
        self.device = device
        self.tokenizer, model = _read(folder, device)
        self._model: Any = model.to(device.name).eval()
        self.ends = self._read_ends()
        # the folder's own sampling settings would be merged into ours
        self._model.generation_config = transformers.GenerationConfig()
        self._context: int = self._model.config.get_text_config().max_position_embeddings
        self._grammar_tokenizer = llguidance_hf.from_tokenizer(
            self.tokenizer, n_vocab=len(self.tokenizer), eos_token=sorted(self.ends)
        )
        self._closing = self._closing_tokens()

    def close(self) -> None:
        """Give the memory back; the object is of no use afterwards."""
        self._model = None
        release(self.device)

    def prompt(self, messages: Sequence[Message], *, thinking: bool = False) -> str:
        """The messages in the model's chat format, up to where its answer begins.

        As text: ``apply_chat_template`` with ``return_tensors`` gives no tensor any more but a ``BatchEncoding``.

        Args:
            messages: the conversation.
            thinking: the answer begins with the model's thoughts; else, where the format knows them, they are closed.
        """
        prompt: str = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=thinking
        )
        return prompt

    def json_rule(self, schema: Mapping[str, Any]) -> Rule:
        """Exactly one JSON value of this schema, without white space between its parts.

        Free white space would let a model that has nothing to say write blanks until its tokens run out.
        """
        compact = {"whitespace_flexible": False}
        return GrammarRule(
            self._grammar_tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=compact)
        )

    def regex_rule(self, pattern: str) -> Rule:
        """A text that matches this regular expression (Rust's syntax) as a whole."""
        return GrammarRule(self._grammar_tokenizer, LLMatcher.grammar_from_regex(pattern))

    def write(self, asks: Sequence[Ask], on_text: OnText) -> tuple[Written, ...]:
        """Write all texts in one left-padded batch.

        Every row draws from its own seed. A row of a batch equals the same ask alone up to the rounding of the
        arithmetic, which differs with the size of a batch; where a take must be the very same, ask one by one.

        Raises:
            TooLong: no room for an answer.
            NotFinite, NoWayOn: see `serving.engines.language_pen`.
            Whatever ``on_text`` raises, before another token is computed.
        """
        shadows = [Shadow(of=index, scale=ask.guidance) for index, ask in enumerate(asks) if ask.against]
        encoded = self.tokenizer(
            [*(ask.prompt for ask in asks), *(asks[shadow.of].against for shadow in shadows)],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        ).to(self.device.name)
        room = self._context - encoded["input_ids"].shape[1]
        if room < 1:
            raise TooLong(encoded["input_ids"].shape[1], self._context)
        rows = [self._row(ask, min(ask.most_tokens, room)) for ask in asks]
        readers = [_Reader(self.tokenizer) for _ in asks]
        pen = Pen(
            rows,
            shadows,
            ends=self.ends,
            closing=self._closing,
            on_token=lambda index, token: on_text(index, readers[index].read(token)),
        )
        self._generate(encoded, pen, max(row.most_tokens for row in rows))
        return tuple(Written(text=self._decoded(row.tokens), tokens=tuple(row.tokens), whole=row.ended) for row in rows)

    def _row(self, ask: Ask, most_tokens: int) -> Row:
        return Row(
            seed=ask.seed,
            sampling=ask.sampling,
            rule=ask.rule,
            most_tokens=most_tokens,
            hasten_at=round(most_tokens * (1 - _HASTEN_BEFORE)),
        )

    def _generate(self, encoded: Mapping[str, torch.Tensor], pen: Pen, most_tokens: int) -> None:
        settings = transformers.GenerationConfig(
            do_sample=False,
            # one more than any row may have: the end of the turn
            max_new_tokens=most_tokens + 1,
            eos_token_id=sorted(self.ends),
            pad_token_id=self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else min(self.ends),
        )
        self._model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            generation_config=settings,
            logits_processor=[pen],
        )

    def _decoded(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _read_ends(self) -> frozenset[int]:
        """The ids that end a turn, by the checkpoint's generation settings and its tokenizer."""
        named = self._model.generation_config.eos_token_id
        ends = set(named if isinstance(named, list) else [named])
        ends = (ends | {self.tokenizer.eos_token_id}) - {None}
        return frozenset(int(end) for end in ends)

    def _closing_tokens(self) -> torch.Tensor:
        """Ids of the tokens that bring a text to its end, ends of the turn among them."""
        ids = {token for text in _CLOSING for token in self.tokenizer.encode(text, add_special_tokens=False)[:1]}
        exact = {token for token in ids if self._decoded([token]) in _CLOSING}
        return torch.tensor(sorted(exact | self.ends))


def _read(folder: Path, device: Device) -> tuple[Any, Any]:
    """The tokenizer and the model of this folder; nothing is fetched and no code of the folder is run."""
    # its progress bars would end up in the logs of a server
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=device.dtype, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BadLanguageModel(folder, (f"{error}".splitlines() or [type(error).__name__])[0]) from error
    if missing := sorted(report["missing_keys"]):
        # transformers fills them with random numbers and goes on
        raise BadLanguageModel(folder, f"{len(missing)} of its weights are missing, such as {missing[0]}.")
    if not tokenizer.chat_template:
        raise BadLanguageModel(folder, "it has no chat template; take the “instruct” version of the model.")
    return tokenizer, model


class _Reader:
    """Turns the tokens of one row into text as they come; an unfinished character waits for its other bytes."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._context: list[int] = []
        self._pending: list[int] = []

    def read(self, token: int) -> str:
        """The text that is certain now. Some decoders join a token to the one before it: that one is read again."""
        self._pending.append(token)
        text = self._decoded([*self._context, *self._pending])
        if text.endswith(_REPLACEMENT) and len(self._pending) < _LONGEST_CHARACTER:
            return ""
        fresh = text[len(self._decoded(self._context)) :]
        self._context, self._pending = self._pending, []
        return fresh

    def _decoded(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def load_language_model(setup: Setup) -> LanguageModel:
    """The model of this setup on its device, warm.

    Raises:
        NoDevice, NotEnoughMemory: see `serving.engines.device`.
        BadLanguageModel: no usable checkpoint.
    """
    if setup.folder is None:
        raise BadLanguageModel(Path(setup.spec.name), "its folder is not known; run `melodeon models fetch` first.")
    device = choose_device(setup.device)
    preflight_weights(setup.spec, device)
    model = LanguageModel(setup.folder, device)
    # the first call starts the device's libraries: better now than in somebody's song
    model.write([Ask(prompt="a", rule=model.regex_rule("a"), seed=0, most_tokens=2)], lambda _, __: None)
    return model
