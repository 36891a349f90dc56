"""A language model on its tiny checkpoint: laws of the pen, of batches, of streams and of broken folders."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from serving.catalogue import known
from serving.engines.device import NotEnoughMemory, choose_device
from serving.engines.language_model import Ask, BadLanguageModel, LanguageModel, TooLong, Written, load_language_model
from serving.engines.language_pen import NotFinite, NoWayOn, Pen, Row, Sampling, Shadow
from serving.engines.setup import Setup
from studio.words.take import Cancelled

LINE = "[a-z ]{5,30}"
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 12},
        "tempo": {"type": "integer", "minimum": 30, "maximum": 300},
        "mood": {"enum": ["happy", "sad"]},
    },
    "required": ["title", "tempo", "mood"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model(tiny_models: Path) -> LanguageModel:
    return LanguageModel(tiny_models / "tiny-qwen", choose_device("cpu"))


def ask(model: LanguageModel, *, seed: int = 1, text: str = "hello", pattern: str = LINE, **more: object) -> Ask:
    prompt = model.prompt([{"role": "user", "content": text}])
    return Ask(**{"prompt": prompt, "rule": model.regex_rule(pattern), "seed": seed, "most_tokens": 60, **more})


def one(model: LanguageModel, the_ask: Ask) -> Written:
    (written,) = model.write([the_ask], lambda _, __: None)
    return written


def test_a_text_matches_its_pattern_and_the_same_seed_writes_it_again(model):
    first = one(model, ask(model))
    assert first.whole
    assert re.fullmatch(LINE, first.text)
    assert one(model, ask(model)) == first
    assert one(model, ask(model, seed=2)) != first


def test_json_is_valid_for_every_seed(model):
    for seed in range(8):
        written = one(model, ask(model, seed=seed, rule=model.json_rule(SCHEMA), most_tokens=120))
        answer = json.loads(written.text)
        assert list(answer) == ["title", "tempo", "mood"]
        assert len(answer["title"]) <= 12
        assert 30 <= answer["tempo"] <= 300
        assert answer["mood"] in ("happy", "sad")


def test_a_row_of_a_left_padded_batch_equals_the_same_ask_alone(model):
    asks = [(1, "hi"), (2, "a much longer request than the first"), (3, "hi")]
    together = model.write([ask(model, seed=seed, text=text) for seed, text in asks], lambda _, __: None)
    alone = [one(model, ask(model, seed=seed, text=text)) for seed, text in asks]
    assert list(together) == alone


def test_the_global_generator_is_neither_read_nor_moved(model):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = one(model, ask(model))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert one(model, ask(model)) == first


def test_what_is_told_while_writing_is_the_text(model):
    told = ["", ""]

    def listen(row: int, text: str) -> None:
        told[row] += text

    asks = [ask(model, seed=seed, pattern=r"[a-zäöü€語😀 ]{20}", most_tokens=90) for seed in (1, 2)]
    assert [written.text for written in model.write(asks, listen)] == told


def test_it_stops_at_the_very_token_at_which_it_is_told_to(model):
    tokens = []

    def stop(_row: int, text: str) -> None:
        tokens.append(text)
        if len(tokens) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.write([ask(model)], stop)
    assert len(tokens) == 3


def test_a_text_never_has_more_tokens_than_it_may(model):
    cut = one(model, ask(model, pattern="[a-z]{200}", most_tokens=17))
    assert not cut.whole
    assert len(cut.tokens) == 17


def test_towards_its_bound_it_takes_the_short_way_out(model):
    for seed in range(4):
        rule = model.json_rule({"type": "array", "items": {"type": "string", "maxLength": 500}})
        written = one(model, ask(model, seed=seed, rule=rule, most_tokens=80))
        assert written.whole
        assert isinstance(json.loads(written.text), list)


def test_guidance_of_one_changes_nothing_and_more_changes_the_text(model):
    plain = one(model, ask(model))
    against = model.prompt([{"role": "user", "content": "something else altogether"}])
    assert one(model, ask(model, against=against, guidance=1.0)) == plain
    assert one(model, ask(model, against=against, guidance=8.0)) != plain


def test_temperature_0_takes_the_best_whatever_the_seed(model):
    greedy = Sampling(temperature=0.0)
    assert one(model, ask(model, seed=1, sampling=greedy)) == one(model, ask(model, seed=2, sampling=greedy))


def test_the_prompt_is_a_text_with_closed_thoughts(model):
    prompt = model.prompt([{"role": "user", "content": "hi"}])
    assert prompt.endswith("<think>\n\n</think>\n\n")
    assert not model.prompt([{"role": "user", "content": "hi"}], thinking=True).rstrip().endswith("</think>")


def test_control_tokens_cannot_be_spelled_by_a_rule(model):
    """Why the planner's ``<think>`` stands in its prompt: a rule that spells it must fail loudly, not write nothing."""
    with pytest.raises(NoWayOn):
        one(model, ask(model, pattern="<think>ok", most_tokens=30))


def test_a_prompt_beyond_the_models_context_is_refused_with_a_sentence(model):
    with pytest.raises(TooLong, match="Shorten it"):
        one(model, ask(model, text="x" * 5_000))


def test_a_rule_that_cannot_be_read_is_refused(model):
    with pytest.raises(NoWayOn):
        model.regex_rule("[a-z")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_end_the_writing_with_a_sentence(tiny_models, value):
    broken = LanguageModel(tiny_models / "tiny-qwen", choose_device("cpu"))
    weights = broken._model.get_output_embeddings().weight
    with torch.no_grad():
        weights[3] = value
    with pytest.raises(NotFinite, match="models verify"):
        one(broken, ask(broken))


class _Free:
    """Any of the first tokens."""

    def allowed(self) -> torch.Tensor:
        return torch.ones(6, dtype=torch.bool)

    def take(self, token: int) -> None:
        pass


def _row(seed: int = 0, **sampling: float) -> Row:
    return Row(seed=seed, sampling=Sampling(**sampling), rule=_Free(), most_tokens=9, hasten_at=9)


def test_nucleus_sampling_draws_from_the_fewest_tokens_that_reach_top_p():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04]))
    tokens = torch.arange(5)
    drawn = {_row(seed, temperature=1.0, top_p=0.75).draw(logits, tokens) for seed in range(200)}
    assert drawn == {0, 1}


def test_tokens_are_drawn_as_often_as_their_chance():
    logits = torch.log(torch.tensor([0.6, 0.4]))
    drawn = [_row(seed, temperature=1.0, top_p=1.0).draw(logits, torch.arange(2)) for seed in range(2_000)]
    assert sum(drawn) / 2_000 == pytest.approx(0.4, abs=0.05)


def test_guidance_moves_away_from_the_shadow_and_padding_is_never_chosen():
    pen = Pen(
        [_row(temperature=0.0)],
        [Shadow(of=0, scale=3.0)],
        ends=frozenset({5}),
        closing=torch.tensor([5]),
        on_token=lambda _, __: None,
    )
    scores = torch.tensor([[1.0, 0.9, 0.0, 0.0, 0.0, 0.0, 9.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0]])
    forced = pen(torch.zeros(2, 1, dtype=torch.long), scores)
    assert forced.argmax(dim=-1).tolist() == [1, 1]
    assert torch.isfinite(forced).sum(dim=-1).tolist() == [1, 1]


@pytest.mark.parametrize("lost", ["tokenizer.json", "model.safetensors", "config.json", "chat_template.jinja"])
def test_a_folder_that_lacks_a_part_is_refused_with_a_sentence(tiny_models, tmp_path, lost):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_models / "tiny-qwen", folder)
    (folder / lost).unlink()
    with pytest.raises(BadLanguageModel, match="broken"):
        LanguageModel(folder, choose_device("cpu"))


def test_in_32_bits_weights_need_twice_what_the_catalogue_says(tiny_models, monkeypatch):
    monkeypatch.setattr("serving.engines.device.free_gb", lambda _: 10.0)
    with pytest.raises(NotEnoughMemory, match=r"needs 16\.2 GB on cpu"):
        load_language_model(Setup(spec=known().spec_of("qwen-4b"), folder=tiny_models / "tiny-qwen", device="cpu"))


def test_missing_weights_are_not_filled_with_random_ones(tiny_models, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "hollow"
    shutil.copytree(tiny_models / "tiny-qwen", folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadLanguageModel, match=r"model\.norm\.weight"):
        LanguageModel(folder, choose_device("cpu"))
