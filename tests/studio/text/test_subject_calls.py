"""Calls such as "hold on to hope" are sung as they stand; calls to the band are no subject."""

import pytest

from studio.text.subject import Subject, SubjectKind, singable_subject, subject_of


@pytest.mark.parametrize(
    ("text", "sung"),
    [
        ("upbeat pop, hold on to hope", "hold on to hope"),
        ("rock song: never give up", "never give up"),
        ("a song called “Hold On”", "hold on"),
        ("pop about dance with me", "dance with me"),
        ("Take Me Home", "take me home"),
        ("song about love in the city", "love in the city"),
    ],
)
def test_a_call_is_a_phrase(text: str, sung: str) -> None:
    subject = singable_subject(text)
    assert subject is not None
    assert subject.kind is SubjectKind.PHRASE
    assert subject.phrase.lower() == sung


@pytest.mark.parametrize(
    "text", ["make it loud, heavy drums", "dreamy pop, make it dreamy", "go faster, rock", "angry metal, turn it up"]
)
def test_a_call_to_the_band_is_no_subject(text: str) -> None:
    assert subject_of(text) == ""


def test_what_only_looks_like_a_call_is_none() -> None:
    assert singable_subject("about taking it slow") == Subject(
        kind=SubjectKind.GERUND, phrase="taking it slow", title="taking it slow"
    )
    hope = singable_subject("about hope and light")
    assert hope is not None
    assert hope.kind is SubjectKind.NOUN
