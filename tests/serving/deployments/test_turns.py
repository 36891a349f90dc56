"""Turns: one computes at a time, and several engines share one card."""

import asyncio
from dataclasses import dataclass, field

import pytest

from serving.deployments.turns import LOOK_AHEAD, OwnTurn, SharedTurn
from studio.errors import MelodeonError


class NoRoom(MelodeonError):
    code = "not_enough_memory"


class Broken(MelodeonError):
    code = "bad_checkpoint"


@dataclass(eq=False)
class Card:
    """Memory for some engines at a time, and what happened on it."""

    room: int = 1
    held: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Model:
    name: str
    card: Card
    error: type[MelodeonError] | None = None

    def load(self) -> None:
        if self.error or len(self.card.held) >= self.card.room:
            raise self.error("broken") if self.error else NoRoom("no room")
        self.card.held.append(self.name)
        self.card.story.append(f"+{self.name}")

    def unload(self) -> None:
        self.card.held.remove(self.name)
        self.card.story.append(f"-{self.name}")


def turn_on(card: Card) -> SharedTurn:
    return SharedTurn(lambda _: len(card.held) < card.room)


async def use(turn: SharedTurn, model: Model, *, error: Exception | None = None) -> None:
    async with turn.taken_by(model):
        assert model.name in model.card.held
        model.card.story.append(model.name)
        await asyncio.sleep(0)
        if error:
            raise error


def in_order(turn: SharedTurn, *models: Model) -> None:
    """One after the other: of calls that wait together, one for a loaded engine may go first."""

    async def each() -> None:
        for model in models:
            await use(turn, model)

    asyncio.run(each())


def test_engines_leave_for_one_another_when_only_one_has_room():
    card = Card()
    music, words = Model("music", card), Model("words", card)
    in_order(turn_on(card), music, words, music)
    assert card.story == ["+music", "music", "-music", "+words", "words", "-words", "+music", "music"]


def test_all_stay_when_there_is_room_and_the_least_used_leaves_first():
    card = Card(room=2)
    music, words, covers = (Model(name, card) for name in ("music", "words", "covers"))
    in_order(turn_on(card), music, words, music, covers)
    assert card.story == ["+music", "music", "+words", "words", "music", "-words", "+covers", "covers"]


def test_loaded_engines_go_first_but_nobody_waits_for_ever():
    card = Card()
    music, words = Model("music", card), Model("words", card)
    turn = turn_on(card)

    async def crowd() -> None:
        async with turn.taken_by(music):
            waiting = [asyncio.create_task(use(turn, words))]
            await asyncio.sleep(0)
            waiting += [asyncio.create_task(use(turn, music)) for _ in range(LOOK_AHEAD + 3)]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    asyncio.run(crowd())
    used = [event for event in card.story if event[0] not in "+-"]
    assert used == ["music"] * LOOK_AHEAD + ["words"] + ["music"] * 3
    assert card.story.count("+music") == 2


def test_an_engine_that_found_too_little_room_gets_all_of_it():
    card = Card(room=1)
    music, words = Model("music", card), Model("words", card)
    turn = SharedTurn(lambda _: True)
    in_order(turn, music, words)
    assert card.story == ["+music", "music", "-music", "+words", "words"]


@pytest.mark.parametrize("error", [NoRoom("too long a song"), MemoryError()])
def test_after_running_out_of_memory_the_others_leave(error):
    card = Card(room=2)
    music, words = Model("music", card), Model("words", card)
    turn = turn_on(card)
    in_order(turn, music, words)
    with pytest.raises(type(error)):
        asyncio.run(use(turn, words, error=error))
    assert card.held == ["words"]


def test_an_engine_that_cannot_be_loaded_gives_the_turn_on():
    card = Card()
    broken, words = Model("broken", card, error=Broken), Model("words", card)
    turn = turn_on(card)

    async def both() -> None:
        first = asyncio.create_task(use(turn, broken))
        await asyncio.sleep(0)
        await asyncio.gather(use(turn, words))
        with pytest.raises(Broken):
            await first

    asyncio.run(both())
    assert card.story == ["+words", "words"]


@pytest.mark.parametrize("shared", [True, False])
def test_whoever_stops_waiting_does_not_stop_the_others(shared):
    card = Card()
    music = Model("music", card)
    turn = turn_on(card) if shared else OwnTurn()
    done: list[int] = []

    async def one(number: int) -> None:
        async with turn.taken_by(music):
            await asyncio.sleep(0.01)
            done.append(number)

    async def crowd() -> None:
        tasks = [asyncio.create_task(one(number)) for number in range(4)]
        await asyncio.sleep(0.005)
        tasks[1].cancel()
        await asyncio.wait(tasks)

    asyncio.run(crowd())
    assert done == [0, 2, 3]


def test_a_call_cancelled_at_the_moment_of_its_turn_passes_it_on():
    card = Card()
    words = Model("words", card)
    turn = turn_on(card)

    async def story() -> None:
        holder = turn.taken_by(words)
        await holder.__aenter__()
        left, last = asyncio.create_task(use(turn, words)), asyncio.create_task(use(turn, words))
        await asyncio.sleep(0)
        await holder.__aexit__(None, None, None)
        left.cancel()
        await asyncio.wait_for(last, 5)
        assert left.cancelled()

    asyncio.run(story())
    assert card.story == ["+words", "words"]
