"""How passwords are kept and compared: cost, scripts, lists, and that an unknown name takes as long as a wrong one."""

import gzip
import re
import statistics
import time
from datetime import UTC, datetime
from importlib.resources import files

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from data import passwords
from data.passwords import WeakPassword, check_password, hash_password, verify_password
from data.repositories import api_keys
from serving.accounts import WrongPassword, change_password, sign_in, sign_up
from studio.words.api_key import Scope

PASSWORD = "correct horse battery"
SCRIPTS = {
    "greek": "αλφάβητο",
    "cyrillic": "ветерпод",
    "han": "春眠不覚暁処処聞",
    "emoji": "🎵🎹🥁🎸🎺🎻🪗🪘",
    "thai": "เพลงกลางคืน",
}


@pytest.fixture
def ada(database):
    with database.transaction() as session:
        return sign_up(session, name="ada", email="", password=PASSWORD, signup_credits=0, now=datetime.now(UTC))


@pytest.mark.parametrize("script", SCRIPTS)
def test_sixty_four_and_more_characters_of_any_script_sign_in(database, script) -> None:
    password = (SCRIPTS[script] * 20)[:63] + "!"
    assert len(password) == 64
    with database.transaction() as session:
        sign_up(session, name="ada", email="", password=password, signup_credits=0, now=datetime.now(UTC))
    assert sign_in(database, "ada", password).name == "ada"
    with pytest.raises(WrongPassword):
        sign_in(database, "ada", password[:-1] + "?")


def test_what_is_kept_is_argon2id_at_or_above_owasp_s_floor(ada, database) -> None:
    with database.transaction() as session:
        kept = session.execute(text("SELECT password_hash FROM account")).scalar_one()
    found = re.fullmatch(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$[\w+/]{22}\$[\w+/]{43}", kept)
    assert found is not None
    memory, passes, lanes = map(int, found.groups())
    assert (memory >= 19 * 1024, passes >= 2, lanes) == (True, True, 1)


def test_nobody_s_hash_costs_what_everybody_s_does() -> None:
    # The same parameters are the same work (RFC 9106, 3.1), so an unknown name takes the time of a known one.
    kept, nobody = hash_password(PASSWORD), passwords._NOBODY
    assert nobody.split("$")[1:4] == kept.split("$")[1:4]
    assert [len(part) for part in nobody.split("$")] == [len(part) for part in kept.split("$")]


@pytest.mark.parametrize("name", ["ada", "nobody-here", "nobody@example.org", "", "not a name"])
def test_every_try_costs_one_hash_and_says_the_same(ada, database, name, monkeypatch) -> None:
    hashed = []

    class Counting(PasswordHasher):
        def verify(self, kept: str, password: bytes) -> bool:
            hashed.append(kept.split("$")[3])
            return super().verify(kept, password)

    monkeypatch.setattr(passwords, "_hasher", Counting(time_cost=2, memory_cost=19 * 1024, parallelism=1))
    with pytest.raises(WrongPassword) as refused:
        sign_in(database, name, "wrong password")
    assert hashed == ["m=19456,t=2,p=1"]
    assert refused.value.sentence == "The name or the password is wrong."


@pytest.mark.long
def test_over_a_thousand_tries_unknown_and_wrong_differ_by_less_than_a_tenth(ada, database) -> None:
    took: dict[str, list[float]] = {"ada": [], "nobody-here": []}
    for number in range(1000):
        for name in took if number % 2 else reversed(took):
            with database.transaction() as session:
                session.execute(text("DELETE FROM rate_limit"))
            start = time.perf_counter()
            with pytest.raises(WrongPassword):
                sign_in(database, name, "wrong password")
            took[name].append(time.perf_counter() - start)
    known, unknown = (statistics.median(times) for times in took.values())
    assert abs(known - unknown) / known < 0.10, (known, unknown)


def test_the_list_of_common_passwords_is_longer_than_the_standard_asks() -> None:
    leaked = (
        gzip.decompress((files("data") / "resources" / "common_passwords.txt.gz").read_bytes()).decode().splitlines()
    )
    assert len(leaked) == len(set(leaked)) == 16_290
    assert all(8 <= len(password) <= 128 and password == password.casefold() for password in leaked)
    assert leaked == sorted(leaked)
    for password in leaked[:: len(leaked) // 200]:
        for form in (password, password.upper()):
            with pytest.raises(WeakPassword, match="guess"):
                check_password(form)


@pytest.mark.parametrize("password", ["AdaLovelace", "adalovelace1815", "lovelace.a", "!adalovelace!"])
def test_nobody_s_password_is_their_name_or_address(database, password) -> None:
    with pytest.raises(WeakPassword), database.transaction() as session:
        sign_up(
            session, name="adalovelace", email="lovelace.a@example.org", password=password, signup_credits=0,
            now=datetime.now(UTC),
        )  # fmt: skip


def test_changing_a_password_needs_the_old_one_and_checks_the_new_one(ada, database) -> None:
    with pytest.raises(WrongPassword):
        change_password(database, ada, "wrong password", "another horse entirely")
    with pytest.raises(WeakPassword):
        change_password(database, ada, PASSWORD, "password")
    assert sign_in(database, "ada", PASSWORD).id == ada.id
    change_password(database, ada, PASSWORD, "another horse entirely")
    with pytest.raises(WrongPassword):
        sign_in(database, "ada", PASSWORD)


@pytest.mark.parametrize("revoke_keys", [True, False])
def test_changing_a_password_ends_api_keys_only_if_so_wished(ada, database, revoke_keys) -> None:
    with database.transaction() as session:
        _, secret = api_keys.make(session, ada.id, "script", [Scope.READ])
    change_password(database, ada, PASSWORD, "another horse entirely", revoke_keys=revoke_keys)
    with database.transaction() as session:
        assert (api_keys.of_secret(session, secret) is None) is revoke_keys


def test_a_very_long_text_is_refused_without_being_hashed() -> None:
    assert verify_password(hash_password(PASSWORD), PASSWORD + "x" * 1_000_000) is False
