"""Passwords: what is refused, and how the rest is kept.

Kept as Argon2id (RFC 9106) with the least memory that OWASP's password storage cheat sheet accepts: 19 MiB, two
passes, one lane. Refused are passwords that guessing programs try first (OWASP ASVS 5.0, V6.2.4): the 16,290 met most
often in public leaks, words of a shorter list with what people put around them, runs and repetitions, and somebody's
own name (V6.2.11). There is no rule about kinds of characters (V6.2.5), every character counts, and nothing is cut
(V6.2.8).
"""

import gzip
import re
import unicodedata
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from studio.errors import MelodeonError

SHORTEST, LONGEST = 8, 128
_LONGEST_TRIED: Final = 1024
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$uFyYnoB1hWLqHTj7zM2ftpyp8mFzgVMQAAAAAAAAAAA"
"""A hash of nothing, so that asking for an unknown person takes as long as for a known one."""

_WORDS: Final = """
    abc access admin administrator adobe alexander amanda america andrea andrew angel anthony apple arsenal asdf
    asdfgh asdfghjk asdfghjkl ashley austin awesome azerty azertyuiop babygirl badboy bailey banana barcelona
    baseball basketball batman blink bond boomer brandon business butterfly buster carlos changeme charlie
    cheese chelsea chester chicken chocolate chris christian computer cookie corvette cowboys dallas daniel danielle
    darkness default diamond dolphin dragon eagles elephant elizabeth evite family fender ferrari flower football
    forever freedom friend friends  fuckyou gemini george ginger gizmodo google guest guitar hammer hannah
    harley hello helloworld hockey hottie hunter iloveu iloveyou internet jackson jasmine jennifer jessica jesus
    jordan joseph joshua justin killer king klaster knight ladybug legend letmein liverpool login london love loveme
    lovely lover loveyou madison maggie manchester manunited marina mario martin master matrix matthew maverick
    melissa melodeon mercedes merlin michael michelle mickey monkey monster morgan muffin music mustang myspace
    naruto ncc nicholas nicole nirvana nothing ocean orange pakistan pass passer passport passw passwd password
    passwort patrick peanut pepper phoenix photoshop pokemon porsche prince princess purple qazwsx qazwsxedc qweasd
    qweasdzxc qwer qwert qwerty qwertyu qwertyui qwertyuio qwertyuiop rachel rainbow ranger realmadrid robert root
    samantha samsung sarah scooter secret shadow silver slayer snoopy soccer sophie spiderman spring starwars
    steelers steven summer sunshine superman superstar system taylor temp tennis test tester testing thomas thunder
    tigger tinkerbell trustno user vanessa victoria welcome whatever william winter winston winner yankees yellow
    zaq zaqxsw zxcvbn zxcvbnm contraseña motdepasse parola senha hallo hola bonjour wachtwoord hasło пароль йцукен
    йцукенг йцукенгшщз 密码
    """
_COMMON: Final = frozenset(_WORDS.split())
_RUNS: Final = (
    "01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p", "qazwsxedcrfvtgbyhnujm", "azertyuiop", "qwertzuiop", "йцукенгшщзхъ",
)  # fmt: skip
_LOOKALIKES: Final = str.maketrans("013457@$!", "oieastasi")


class WeakPassword(MelodeonError):
    """The password is too short, too long, or among the first that somebody else would try."""

    code = "weak_password"


def check_password(password: str, *, of: Collection[str] = ()) -> None:
    """Raise `WeakPassword` unless ``password`` may be chosen: 8-128 characters of any script, not a common one.

    Args:
        password: as it was typed.
        of: names and addresses of the person, none of which may be the password.
    """
    if len(password) < SHORTEST:
        raise WeakPassword(
            f"The password is too short: please use {SHORTEST} characters or more; a few words are best."
        )
    if len(password) > LONGEST:
        raise WeakPassword(f"The password is too long: at most {LONGEST} characters are allowed.")
    if _is_common(password.casefold()) or _is_own(password.casefold(), of):
        raise WeakPassword("This password is one of the first that others would guess. Please choose another one.")


def hash_password(password: str) -> str:
    """The Argon2id hash to keep, with its parameters and a random salt."""
    return _hasher.hash(_bytes(password))


def verify_password(kept: str | None, password: str) -> bool:
    """Whether ``password`` is the one kept. ``None`` (nobody, or nobody who has one) takes as long and is False."""
    if len(password) > _LONGEST_TRIED:
        return False
    try:
        return _hasher.verify(kept or _NOBODY, _bytes(password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def _bytes(password: str) -> bytes:
    # The same password typed on another system may arrive composed differently (RFC 8265, OpaqueString).
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


@cache
def _leaked() -> frozenset[str]:
    """The passwords met most often in public leaks; ``resources/README.md`` says whose lists they are."""
    packed = (files("data") / "resources" / "common_passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().splitlines())


def _is_own(password: str, names: Collection[str]) -> bool:
    """Whether the password is one of the person's names, whatever digits and signs stand around it."""
    bare = re.sub(r"[\W\d_]+$|^[\W\d_]+", "", password)
    own = {part.casefold() for name in names for part in (name, name.partition("@")[0]) if len(part) > 1}
    return bool({password, bare} & own)


def _is_common(password: str) -> bool:
    if password in _leaked():
        return True
    bare = re.sub(r"[\W\d_]+$|^[\W\d_]+", "", password)
    unmasked = re.sub(r"[\W\d_]+$", "", password).translate(_LOOKALIKES)
    if {password, bare, unmasked, re.sub(r"[\W\d_]+$", "", unmasked)} & _COMMON:
        return True
    if re.fullmatch(r"(.{1,4}?)\1+.?", password, re.DOTALL):
        return True
    return any(password in run * 2 or password[::-1] in run * 2 for run in _RUNS)
