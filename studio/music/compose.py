"""The built-in composer: from a Style and lyrics to a Score.

Every stage draws from its own seeded generator, so the same request gives the same song in every process, and a change
of the words leaves the drums, the chords and the motifs as they were.
"""

from collections.abc import Mapping

from studio.music.arrange import answer_voice, play_arpeggio, play_bass, play_keys, play_pad
from studio.music.budget import bar_budget
from studio.music.chance import generator, temperature_of
from studio.music.drumming import play_drums
from studio.music.form import plan_form
from studio.music.genres import cast, usual_key, usual_lift, usual_tempo
from studio.music.harmony import Sketch, plan_harmony
from studio.music.melody import Motif, draw_motifs, harmonise, play_lead, sing
from studio.music.rhythm import Draft, feel_of, performed
from studio.music.score import Chord, FormSection, Part, Score
from studio.music.stanzas import fitting_pieces, read_stanzas
from studio.music.theory import parse_key
from studio.text.style import Style
from studio.words.take import Section, TimedLine


def compose(
    style: Style,
    *,
    lyrics: str,
    tempo_bpm: float | None,
    key: str | None,
    duration_s: float,
    seed: int,
    guidance: float,
    instrumental: bool,
) -> Score:
    """A whole song.

    Args:
        style: what the prompt says about the music.
        lyrics: with section tags or without; as many whole lines are sung as fit, in order.
        tempo_bpm: 30-300; without it the prompt's, or one of the genre.
        key: any spelling `parse_key` knows; without it the prompt's, or one by seed and mood.
        duration_s: exact length, 10-600 s.
        seed: same seed, same song.
        guidance: 1-15. High values keep to the genre's own tables, low ones choose more freely and borrow from
            neighbour genres.
        instrumental: no voice, whatever the lyrics.

    Raises:
        UnknownKey: ``key`` names no key.
    """
    tempo = float(tempo_bpm or style.tempo_bpm or usual_tempo(style, seed))
    home = parse_key(key) if key else usual_key(style, seed)
    budget = bar_budget(duration_s, tempo)
    temperature = temperature_of(guidance)
    voiceless = instrumental or style.instrumental or bool({"vocals", "voice", "vocal"} & set(style.without))
    # Who asks for a key gets it to the end.
    lift = 0 if key or style.key else usual_lift(style, seed)
    passages = plan_form(style, "" if voiceless else lyrics, budget, lift=lift)
    chords = plan_harmony(style.genre, home, passages, budget, seed=seed, temperature=temperature)
    sketch = Sketch(
        genre=style.genre, budget=budget, passages=passages, chords=chords, seed=seed, temperature=temperature
    )
    players = cast(style, seed, temperature)
    drafts = [*_band(sketch, players), *_voices(sketch, players, style.voice)]
    return Score(
        genre=style.genre,
        tempo_bpm=tempo,
        key=home.name,
        duration_s=duration_s,
        sections=_form_sections(sketch),
        chords=_chords(sketch),
        notes=performed(drafts, feel_of(style.genre, budget), budget, seed),
        instruments=players,
        voice=style.voice,
        seed=seed,
    )


def _band(sketch: Sketch, players: Mapping[Part, str]) -> list[Draft]:
    """Everything but melodies, by the players there are."""
    drafts: list[Draft] = []
    if Part.DRUMS in players:
        drafts += play_drums(sketch)
    if Part.BASS in players:
        drafts += play_bass(sketch)
    if Part.KEYS in players:
        drafts += play_keys(sketch, players[Part.KEYS])
    if Part.PAD in players:
        drafts += play_pad(sketch)
    if Part.ARP in players:
        drafts += play_arpeggio(sketch, players[Part.ARP])
    return drafts


def _voices(sketch: Sketch, players: Mapping[Part, str], voice: str) -> list[Draft]:
    """The melodies: sung lines with a second voice in the choruses, and the lead where nobody sings."""
    motifs = draw_motifs(sketch.seed, sketch.genre)
    sung = sing(sketch, motifs, voice)
    drafts = list(sung)
    for passage in sketch.passages:
        if passage.name == "chorus" and passage.energy >= 0.9:
            own = [d for d in sung if 4 * passage.start_bar - 1 <= d.start_beats < 4 * passage.end_bar - 1]
            drafts += harmonise(sketch, own, voice)
    if Part.LEAD in players:
        drafts += _lead(sketch, motifs, voiceless=not sung)
        drafts += answer_voice(sketch, sung)
    return drafts


def _lead(sketch: Sketch, motifs: Mapping[str, Motif], *, voiceless: bool) -> list[Draft]:
    """The lead melody: in every section of an instrumental song, else in solos and the second half of the opening."""
    wanted = {"solo", "instrumental", "chorus"} | ({"verse", "bridge", "pre-chorus"} if voiceless else set())
    drafts: list[Draft] = []
    for passage in sketch.passages:
        # Drawn by name, so that the same kind of section plays the same tune each time.
        rng = generator("lead", sketch.seed, passage.name)
        opening = passage.name == "intro" and passage.bars >= 4
        if passage.lines or not (opening or passage.name in wanted):
            continue
        played = play_lead(sketch, passage, motifs, rng)
        half = 4.0 * (passage.start_bar + passage.bars // 2) if opening else 0.0
        drafts += [draft for draft in played if draft.start_beats >= half]
    return drafts


def _form_sections(sketch: Sketch) -> tuple[FormSection, ...]:
    factor = sketch.budget.factor
    return tuple(
        FormSection(
            name=passage.name,
            start_bar=round(passage.start_bar * factor),
            bars=round(passage.bars * factor),
            energy=passage.energy,
            lines=tuple(line.text for line in passage.lines),
            lift=passage.lift,
        )
        for passage in sketch.passages
    )


def _chords(sketch: Sketch) -> tuple[Chord, ...]:
    factor = sketch.budget.factor
    return tuple(
        Chord(
            start_beats=slot.start_beats * factor,
            length_beats=slot.length_beats * factor,
            symbol=slot.harmony.symbol,
            pitches=(36 + slot.harmony.bass, *slot.pitches),
        )
        for slot in sketch.chords.slots
    )


def lines_sung(score: Score) -> tuple[str, ...]:
    """The lines the voice sings, in order, repeated ones each time."""
    return tuple(line for section in score.sections for line in section.lines)


def lines_left_out(lyrics: str, score: Score) -> int:
    """How many lines of ``lyrics`` did not fit into the song, so that the page can say so.

    Lines longer than one breath count once for each breath they take. In an instrumental song every line is left out.
    """
    written = [piece for stanza in read_stanzas(lyrics) for piece in fitting_pieces(stanza.lines)]
    for line in lines_sung(score):
        if line in written:
            written.remove(line)
    return len(written)


def timed_lines(score: Score) -> tuple[TimedLine, ...]:
    """When each sung line starts and ends, in seconds: from its first syllable to the end of its last."""
    vocal = score.of_part(Part.VOCAL)
    starts = [at for at, note in enumerate(vocal) if note.syllable is not None and note.syllable.starts_line]
    ends = [*starts[1:], len(vocal)] if starts else []
    return tuple(
        TimedLine(
            start_s=score.seconds(vocal[first].start_beats),
            end_s=min(score.duration_s, score.seconds(vocal[last - 1].start_beats + vocal[last - 1].length_beats)),
            text=text,
        )
        for text, first, last in zip(lines_sung(score), starts, ends, strict=True)
    )


def sections_in_seconds(score: Score) -> tuple[Section, ...]:
    """The form in seconds; the last section ends with the song."""
    bar_s = score.seconds(float(score.beats_per_bar))
    last = len(score.sections) - 1
    return tuple(
        Section(
            name=section.name,
            start_s=section.start_bar * bar_s,
            end_s=score.duration_s if at == last else (section.start_bar + section.bars) * bar_s,
        )
        for at, section in enumerate(score.sections)
    )
