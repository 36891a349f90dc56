"""Which passwords are refused, and that the others are kept well."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.passwords import LONGEST, SHORTEST, WeakPassword, check_password, hash_password, verify_password


@pytest.mark.parametrize(
    "password",
    [
        "password", "Password1", "P@ssw0rd", "passw0rd!!", "12345678", "123456789", "1234567890", "87654321",
        "qwertyuiop", "Qwerty123", "1q2w3e4r", "1qaz2wsx", "aaaaaaaa", "abcabcabc", "abcdefgh", "iloveyou1",
        "sunshine2026", "melodeon!", "Melodeon2026", "letmein123", "йцукенгш", "пароль123", "123password", "zxcvbnm1",
    ],
)  # fmt: skip
def test_what_guessing_programs_try_first_is_refused(password: str) -> None:
    with pytest.raises(WeakPassword, match="guess"):
        check_password(password)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple", "gr8-Wurst-am-See", "ветер над рекой", "春眠不覚暁処処聞啼鳥",
        "🎵🎹🥁🎸🎺🎻🪗🪘", "x" * 125 + "yz!",
    ],
)  # fmt: skip
def test_any_script_spaces_and_long_ones_are_welcome(password: str) -> None:
    check_password(password)


@pytest.mark.parametrize(("password", "problem"), [("", "short"), ("a1b2c3d", "short"), ("xy" * 65, "long")])
def test_length_is_counted_in_characters(password: str, problem: str) -> None:
    with pytest.raises(WeakPassword, match=problem):
        check_password(password)
    assert (SHORTEST, LONGEST) == (8, 128)


def test_the_hash_is_argon2id_with_the_promised_cost_and_a_salt_of_its_own() -> None:
    first, second = hash_password("correct horse"), hash_password("correct horse")
    assert re.match(r"^\$argon2id\$v=19\$m=19456,t=2,p=1\$", first)
    assert first != second


@settings(max_examples=10)
@given(st.text(min_size=1, max_size=128), st.text(min_size=1, max_size=128))
def test_only_the_same_password_verifies(password: str, other: str) -> None:
    kept = hash_password(password)
    assert verify_password(kept, password)
    same = unicodedata.normalize("NFC", password) == unicodedata.normalize("NFC", other)
    assert verify_password(kept, other) is same


def test_no_character_is_cut_off_not_even_the_128th() -> None:
    long = "é" * 127
    assert not verify_password(hash_password(long + "a"), long + "b")


def test_a_password_composed_differently_on_another_system_is_the_same() -> None:
    assert verify_password(hash_password("caf\u00e9 noir"), "cafe\u0301 noir")


@pytest.mark.parametrize("password", ["", "anything", "\x00", "\ud800", "x" * 100_000])
def test_nobody_has_a_password(password: str) -> None:
    assert verify_password(None, password) is False
    assert verify_password("not a hash", password) is False
