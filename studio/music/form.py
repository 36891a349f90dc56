"""Form: what happens in the bars of a song."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from studio.music.budget import Budget, bar_budget
from studio.music.genres import genre_of
from studio.music.stanzas import Stanza, fitting_pieces, read_stanzas
from studio.text.phonetics import count_syllables
from studio.text.style import Style

_ENERGY: Final = {
    "intro": 0.36,
    "verse": 0.52,
    "pre-chorus": 0.68,
    "chorus": 0.9,
    "bridge": 0.48,
    "solo": 0.78,
    "instrumental": 0.7,
    "break": 0.42,
    "outro": 0.4,
}
_FRAME: Final = ("intro", "outro")
"""Without words their length is whatever the rest of the song leaves."""
_WHOLE_CHORUS: Final = 6
"""Lines that a couplet and a chorus of four take: a short song rather does without an introduction."""
_CHORUSES_BEFORE_LIFT: Final = 3
_CYCLE: Final = ("verse", "chorus", "verse", "chorus", "bridge", "chorus", "solo", "chorus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A sung line: its text, its first bar in the song and how many bars it may take."""

    text: str
    start_bar: int
    bars: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One section as the composer sees it, in composing bars.

    ``final`` marks the last one, whose last ``Budget.tail`` bars are the final chord. ``turn`` counts the passages of
    the same name before it. ``lift`` is how many semitones above the key of the song it stands.
    """

    name: str
    start_bar: int
    bars: int
    energy: float
    lines: tuple[Line, ...] = ()
    turn: int = 0
    final: bool = False
    lift: int = 0

    @property
    def end_bar(self) -> int:
        """The bar after the last."""
        return self.start_bar + self.bars


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A section before it has its place."""

    name: str
    bars: int
    lines: tuple[tuple[str, int], ...] = ()


def plan_sections(duration_s: float, tempo_bpm: float, *, instrumental: bool) -> tuple[tuple[str, int], ...]:
    """The form that fills ``duration_s``, for the writer of the lyrics: (section name, number of lines).

    Names are "intro", "verse", "pre-chorus", "chorus", "bridge", "solo", "break", "outro"; a section with 0 lines
    is played without words. Lines are meant to have about eight syllables, and every section has an even number of
    them, so that none waits for its rhyme. A sung song has at least two lines and ends with a chorus before its outro.

    >>> plan_sections(60.0, 100.0, instrumental=False)
    (('intro', 0), ('verse', 4), ('pre-chorus', 2), ('chorus', 4), ('outro', 0))
    """
    budget = bar_budget(duration_s, tempo_bpm)
    if instrumental:
        return tuple((block.name, 0) for block in _played(budget))
    room = budget.body // budget.line_bars
    framed = (budget.body - 2 * budget.opening) // budget.whole(budget.line_bars)
    if budget.opening and framed >= min(room, _WHOLE_CHORUS):
        return (("intro", 0), *_sung_plan(framed), ("outro", 0))
    return tuple(_sung_plan(room))


def _sung_plan(lines: int) -> list[tuple[str, int]]:
    """Sections for about ``lines`` lines, never more but for a song of one."""
    verse, chorus, lift, bridge = ("verse", 4), ("chorus", 4), ("pre-chorus", 2), ("bridge", 4)
    solo = [("solo", 0)]
    if lines < 4:
        return [("chorus", 2)]
    if lines < 8:
        return [("verse", 2), ("chorus", 4 if lines >= _WHOLE_CHORUS else 2)]
    templates = [
        [verse, chorus],
        [verse, lift, chorus],
        [verse, chorus, chorus],
        [verse, chorus, ("bridge", 2), chorus],
        [verse, chorus, verse, chorus],
        [verse, lift, chorus, verse, chorus],
        [verse, lift, chorus, verse, lift, chorus],
        [verse, chorus, verse, chorus, ("bridge", 2), chorus],
        [verse, chorus, verse, chorus, bridge, chorus],
        [verse, lift, chorus, verse, chorus, bridge, chorus],
        [verse, lift, chorus, verse, lift, chorus, bridge, chorus],
        [verse, lift, chorus, verse, lift, chorus, *solo, bridge, chorus, chorus],
    ]
    group = [verse, lift, chorus]
    for groups in range(3, 1 + lines // 10):
        rounds: list[tuple[str, int]] = []
        for turn in range(groups):
            rounds += [*solo, *group] if turn and turn % 2 == 0 else group
        templates.append([*rounds, *solo, bridge, chorus])
    return max((t for t in templates if _weight(t) <= lines), key=_weight)


def _weight(sections: Sequence[tuple[str, int]]) -> int:
    """Lines that the sections take; a solo takes the time of four."""
    return sum(lines or 4 for _, lines in sections)


def plan_form(style: Style, lyrics: str, budget: Budget, *, lift: int = 0) -> tuple[Passage, ...]:
    """The passages of the song, which fill exactly ``budget.bars``.

    Lyrics are sung in order, whole lines only. Too many of them: as many as fit, ending with a chorus if possible. Too
    few: the song is filled with an introduction, solos and repeated choruses. From the last of at least three choruses
    on, the song stands ``lift`` semitones higher.
    """
    stanzas = read_stanzas(lyrics)
    sung = [_sung_block(stanza, budget) for stanza in stanzas if stanza.lines or stanza.name not in _FRAME]
    fitting = _fitted(sung, budget.body)
    with_words = any(block.lines for block in fitting)
    blocks = _filled(fitting, budget) if with_words else _played(budget)
    return _placed(blocks, style, budget, lift=lift)


def _sung_block(stanza: Stanza, budget: Budget) -> _Block:
    lines = tuple((piece, budget.bars_of_line(count_syllables(piece))) for piece in fitting_pieces(stanza.lines))
    bars = sum(bars for _, bars in lines)
    return _Block(name=stanza.name, bars=budget.whole(bars or 4 * budget.line_bars), lines=lines)


def _fitted(blocks: list[_Block], room: int) -> list[_Block]:
    """The blocks that fit into ``room`` bars: most lines first, and a whole chorus at the end counts as three."""
    if sum(block.bars for block in blocks) <= room:
        return blocks
    best: tuple[float, list[_Block]] = (-1.0, [])
    for at, block in enumerate(blocks):
        before = blocks[:at]
        if sum(b.bars for b in before) > room:
            break
        chorus = next((b for b in blocks[at + 1 :] if b.name == "chorus" and b.lines), None)
        for count in range(len(block.lines) + 1):
            part = [_first_lines(block, count)] if count else []
            whole = [*before, *part]
            options = [(whole, count == len(block.lines) and block.name == "chorus")]
            if chorus is not None:
                options.append(([*whole, chorus], True))
            for kept, ends_well in options:
                lines = sum(len(b.lines) for b in kept)
                score = lines + 3.0 * ends_well - (count % 2)
                if score > best[0] and sum(b.bars for b in kept) <= room:
                    best = (score, kept)
    return best[1]


def _first_lines(block: _Block, count: int) -> _Block:
    if count == len(block.lines):
        return block
    lines = block.lines[:count]
    return replace(block, lines=lines, bars=sum(bars for _, bars in lines))


def _filled(blocks: list[_Block], budget: Budget) -> list[_Block]:
    """Blocks, what is repeated, and what is played between them: together exactly ``budget.body`` bars."""
    blocks = [replace(block, bars=budget.whole(block.bars)) for block in blocks]
    while len(blocks) > 1 and sum(block.bars for block in blocks) > budget.body:
        blocks.pop()
    rest = budget.body - sum(block.bars for block in blocks)
    room_ahead = bool(blocks) and blocks[0].name != "intro"
    room_behind = bool(blocks) and blocks[-1].name != "outro"
    intro = _even(min(budget.opening, rest // 2), budget) * room_ahead
    outro = _even(min(budget.opening, rest - intro), budget) * room_behind
    blocks, rest = _repeated(blocks, rest - intro - outro, budget)
    blocks, rest = _with_solos(blocks, rest, budget)
    if room_ahead and budget.opening:
        more = _even(min(rest, max(0, budget.unit - intro), max(intro, (rest + outro - intro) // 2)), budget)
        intro, rest = intro + more, rest - more
    front = [_Block(name="intro", bars=intro)] if intro else []
    back = [_Block(name="outro", bars=outro + rest)] if outro + rest else []
    return [*front, *blocks, *back]


def _even(bars: int, budget: Budget) -> int:
    """``bars`` rounded down to an even number, or to one."""
    step = max(2, budget.tail)
    return bars // step * step if bars > 1 or budget.tail > 1 else bars


def _repeated(blocks: list[_Block], rest: int, budget: Budget) -> tuple[list[_Block], int]:
    """Blocks with whole verse-to-chorus groups sung again while they fit, every other one after a solo.

    In the end the last chorus may be sung twice.
    """
    ending = [blocks[-1]] if blocks and blocks[-1].name == "outro" else []
    body = blocks[: len(blocks) - len(ending)]
    groups = _groups(body)
    turn = misses = 0
    while groups and misses < len(groups):
        group = groups[turn % len(groups)]
        bars = sum(block.bars for block in group)
        turn, misses = turn + 1, misses + 1
        if bars <= rest:
            solo = [_Block(name="solo", bars=_solo_bars(budget))] if turn % 2 else []
            if solo and bars + solo[0].bars > rest:
                solo = []
            body = [*body, *solo, *group]
            rest -= bars + sum(block.bars for block in solo)
            misses = 0
    if body and body[-1].name == "chorus" and body[-1].bars <= rest and len(groups[-1]) > 1:
        rest -= body[-1].bars
        body = [*body, body[-1]]
    return [*body, *ending], rest


def _groups(body: Sequence[_Block]) -> list[list[_Block]]:
    """The sung blocks, each group ending with a chorus (the last one perhaps without)."""
    groups: list[list[_Block]] = [[]]
    for block in body:
        if block.lines and block.name != "intro":
            groups[-1].append(block)
        if block.name == "chorus":
            groups.append([])
    return [group for group in groups if group]


def _solo_bars(budget: Budget) -> int:
    return budget.whole(4 * budget.line_bars)


def _with_solos(blocks: list[_Block], rest: int, budget: Budget) -> tuple[list[_Block], int]:
    """Blocks with solos after inner choruses, until fewer bars are left than a solo takes."""
    spaced: list[_Block] = []
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        spaced.append(block)
        inner = following is not None and bool(following.lines) and block.name == "chorus" and bool(block.lines)
        bars = _even(min(_solo_bars(budget), rest), budget)
        if inner and bars >= 4:
            spaced.append(_Block(name="solo", bars=bars))
            rest -= bars
    return spaced, rest


def _played(budget: Budget) -> list[_Block]:
    """The form of a song without words."""
    intro = budget.opening
    outro = min(budget.opening, budget.body - intro)
    room = budget.body - intro - outro
    count = max(1, room // budget.unit)
    names = [_CYCLE[at % len(_CYCLE)] for at in range(count)]
    names[-1] = "chorus"
    blocks = [_Block(name=name, bars=budget.unit) for name in names]
    extra = room - count * budget.unit
    if count == 1:
        blocks[0] = replace(blocks[0], bars=room)
    elif extra >= 4:
        blocks.insert(-1, _Block(name="break", bars=extra))
    else:
        outro += extra
    front = [_Block(name="intro", bars=intro)] if intro else []
    back = [_Block(name="outro", bars=outro)] if outro else []
    return [*front, *blocks, *back]


def _placed(blocks: list[_Block], style: Style, budget: Budget, *, lift: int) -> tuple[Passage, ...]:
    """Blocks in their places, with the final chord added to the last."""
    passages: list[Passage] = []
    turns: dict[str, int] = {}
    choruses = [at for at, block in enumerate(blocks) if block.name == "chorus"]
    last_chorus = choruses[-1] if choruses else -1
    lifted_from = last_chorus if len(choruses) >= _CHORUSES_BEFORE_LIFT else len(blocks)
    bar = 0
    for at, block in enumerate(blocks):
        final = at == len(blocks) - 1
        turn = turns.get(block.name, 0)
        turns[block.name] = turn + 1
        passages.append(
            Passage(
                name=block.name,
                start_bar=bar,
                bars=block.bars + (budget.tail if final else 0),
                energy=_energy(block.name, turn, style, climax=at == last_chorus),
                lines=_placed_lines(block, bar),
                turn=turn,
                final=final,
                lift=lift if at >= lifted_from else 0,
            )
        )
        bar = passages[-1].end_bar
    return tuple(passages)


def _placed_lines(block: _Block, start_bar: int) -> tuple[Line, ...]:
    lines: list[Line] = []
    for text, bars in block.lines:
        lines.append(Line(text=text, start_bar=start_bar, bars=bars))
        start_bar += bars
    return tuple(lines)


def _energy(name: str, turn: int, style: Style, *, climax: bool) -> float:
    """0-1: the section's own, a little more at each return, moved by the mood and most in the last chorus."""
    growth = 0.06 if name == "verse" else 0.03
    calm = 0.06 if genre_of(style.genre).low_keys and name not in {"chorus"} else 0.0
    energy = _ENERGY.get(name, 0.6) + growth * min(turn, 2) + 0.06 * style.arousal - calm
    return min(1.0, max(0.2, 1.0 if climax and name == "chorus" else energy))
