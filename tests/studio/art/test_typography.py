"""Type: what fits, what can be shown, and the bundled fonts."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.art.typography import MARGIN, SANS, SERIF, printable, set_title


@pytest.mark.parametrize("face", [SANS, SERIF])
def test_the_typefaces_cover_latin_and_have_their_licence(face: str) -> None:
    text = "ABCXYZ abcxyz 0123456789 ÀÉÎÕÜßçñøåŁŻĐŞőŵ"
    assert printable(text, face) == text
    folder = resources.files("studio.art").joinpath("resources")
    assert len(folder.joinpath(f"{face}.ttf").read_bytes()) <= 120_000
    licence = folder.joinpath(f"{face.split('-', maxsplit=1)[0]}-OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert 'Reserved Font Name "' not in licence


def test_unknown_characters_are_left_out() -> None:
    assert printable("Neon 🎸 夜 Hearts!", SANS) == "Neon Hearts!"
    assert printable("夜の歌", SANS) == ""
    assert printable("… — !", SERIF) == ""


def test_cyrillic_is_set_in_the_sans() -> None:
    block = set_title("Ночной поезд", "", face=SERIF, capitals=False)
    assert " ".join(line.text for line in block.lines) == "Ночной поезд"


def test_nothing_to_show_draws_nothing() -> None:
    assert set_title("夜の歌", "", face=SANS, capitals=True).frame is None


@pytest.mark.parametrize(
    ("title", "rows"),
    [("Hustle", 1), ("Driving Home at Midnight", 2), ("The Old House by the Sea and Everything We Used to Be", 3)],
)
def test_long_titles_take_more_rows(title: str, rows: int) -> None:
    block = set_title(title, "Ada", face=SERIF, capitals=False)
    assert len(block.lines) == rows
    assert " ".join(line.text for line in block.lines) == title


@given(st.text(alphabet="abcdefghijklmnop ", min_size=1, max_size=100), st.sampled_from([SANS, SERIF]), st.booleans())
def test_lines_fit_between_the_margins_and_do_not_touch(title: str, face: str, capitals: bool) -> None:
    block = set_title(title, "Somebody", face=face, capitals=capitals)
    assert len(block.lines) <= 3
    for line in block.lines:
        assert line.left >= MARGIN - 12
        assert line.right <= 1000 - MARGIN + 12
    assert block.artist is not None
    written = [*block.lines, block.artist]
    assert [line.top for line in written] == sorted(line.top for line in written)
    assert all(line.bottom <= block.artist.top for line in block.lines[-1:])


def test_kerning_pulls_letters_together() -> None:
    kerned = set_title("AVAVAVAV", "", face=SANS, capitals=True).lines[0]
    apart = set_title("AHAHAHAH", "", face=SANS, capitals=True).lines[0]
    assert (kerned.right - kerned.left) / (kerned.bottom - kerned.top) < (apart.right - apart.left) / (
        apart.bottom - apart.top
    )
