"""The built-in lyric writer: whole lyrics as long as the song can hold."""

from studio.music.form import plan_sections
from studio.text.sections import LyricSection, format_lyrics
from studio.text.style import Style
from studio.text.verses import Verses


def write_lyrics(subject_text: str, style: Style, *, seed: int, duration_s: float, tempo_bpm: float) -> str:
    """Lyrics about ``subject_text``, as long as a song of ``duration_s`` at ``tempo_bpm`` can hold.

    Verses have lines of about eight syllables, of which the second and fourth rhyme; the chorus names the subject.
    The same arguments give the same text. For an instrumental ``style`` the text is ``[Instrumental]``.

    Args:
        subject_text: what the person wrote: a description of the song or of its lyrics; may be empty.
        style: its mood chooses between bright and dark lines.
        seed: 0 … 2**31 - 1.
        duration_s: 10-600.
        tempo_bpm: 30-300.
    """
    if style.instrumental:
        return format_lyrics([LyricSection(name="instrumental")])
    verses = Verses(subject_text, style, seed)
    makers = {"verse": verses.verse, "pre-chorus": verses.lift, "chorus": verses.chorus, "bridge": verses.bridge}
    plan = plan_sections(duration_s, tempo_bpm, instrumental=False)
    many_verses = sum(name == "verse" for name, _ in plan) > 1
    sections: list[LyricSection] = []
    for name, count in plan:
        if not count or name not in makers:
            continue
        number = 1 + sum(section.name == "verse" for section in sections) if name == "verse" and many_verses else None
        sections.append(LyricSection(name=name, number=number, lines=makers[name](count)))
    return format_lyrics(sections)
