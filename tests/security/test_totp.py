"""The second factor: codes of RFC 6238, good once, slow to guess; recovery codes; a sealed secret."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from data.one_time_codes import address_of, new_recovery_codes, new_secret, step_of
from data.passwords import hash_password
from data.repositories import audit, second_factors
from data.sealed import BrokenSeal, SealedBox
from serving.account_confirm import Shown
from serving.account_factors import SecondFactorOn, totp_begin, totp_confirm, totp_end
from serving.account_proofs import verify_email
from serving.accounts import CodeNeeded, SignInLocked, WrongCode, WrongPassword, put_password, sign_in, sign_up
from serving.api.services import Services
from serving.limits import TooManyRequests
from studio.errors import MelodeonError
from studio.words.account import Account

PASSWORD = "correct horse battery"
NOW = datetime(2026, 11, 20, 12, 0, 15, tzinfo=UTC)
STEP = timedelta(seconds=30)
BOX = SealedBox("the seal key of these tests")


def code_at(secret: str, moment: datetime) -> str:
    return pyotp.TOTP(secret).at(moment)


@pytest.fixture
def ada(database, letters) -> Account:
    with database.transaction() as session:
        sign_up(session, name="ada", email="ada@example.org", password=PASSWORD, signup_credits=0, now=NOW)
    return verify_email(database, letters.token())


@pytest.fixture
def factor(ada, database, letters) -> tuple[str, tuple[str, ...]]:
    """A second factor in force: its secret, and its recovery codes."""
    secret = totp_begin(database, ada, BOX, password=PASSWORD).secret
    codes = totp_confirm(database, ada, BOX, code_at(secret, NOW - 10 * STEP), now=NOW - 10 * STEP)
    letters.sent()
    return secret, codes


def enter(database, code: str, *, now: datetime = NOW, password: str = PASSWORD) -> Account:
    return sign_in(database, "ada", password, code=code, box=BOX, now=now)


@pytest.mark.parametrize(
    ("moment", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"),
     (20000000000, "353130")],
)  # fmt: skip
def test_the_codes_are_those_of_the_standard(moment: int, code: str) -> None:
    # RFC 6238, appendix B: SHA-1, the last six of eight digits
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert step_of(secret, code, datetime.fromtimestamp(moment, UTC)) == moment // 30
    assert step_of(secret, f"{code[:3]} {code[3:]}", datetime.fromtimestamp(moment, UTC)) == moment // 30


@given(st.text(max_size=20))
def test_no_odd_text_is_a_code(code: str) -> None:
    step = step_of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", code, NOW)
    assert step is None or len("".join(code.split())) == 6


def test_secrets_and_recovery_codes_are_long_and_never_the_same() -> None:
    assert len({new_secret() for _ in range(50)}) == 50
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 16 for code in codes)
    secret = new_secret()
    assert address_of(secret, "ada lovelace").startswith(f"otpauth://totp/Melodeon:ada%20lovelace?secret={secret}")


def test_it_is_in_force_only_when_a_code_was_seen(ada, database, letters) -> None:
    with pytest.raises(WrongPassword):
        totp_begin(database, ada, BOX, password="wrong password")
    secret = totp_begin(database, ada, BOX, password=PASSWORD).secret
    assert enter(database, "").id == ada.id
    with pytest.raises(WrongCode):
        totp_confirm(database, ada, BOX, code_at(secret, NOW - 5 * STEP), now=NOW)
    newer = totp_begin(database, ada, BOX, password=PASSWORD).secret
    with pytest.raises(WrongCode):
        totp_confirm(database, ada, BOX, code_at(secret, NOW), now=NOW)
    totp_confirm(database, ada, BOX, code_at(newer, NOW), now=NOW)
    with pytest.raises(CodeNeeded):
        enter(database, "")
    for call in (
        lambda: totp_begin(database, ada, BOX, password=PASSWORD),
        lambda: totp_confirm(database, ada, BOX, code_at(newer, NOW + STEP), now=NOW + STEP),
    ):
        with pytest.raises(SecondFactorOn):
            call()
    assert [letter["To"] for letter in letters.sent()] == ["ada@example.org"]
    with database.transaction() as session:
        assert audit.latest(session, subject=ada.id)[0].action == "second_factor_on"


def test_password_and_code_open_and_neither_alone_does(ada, factor, database) -> None:
    secret, _ = factor
    assert enter(database, code_at(secret, NOW)).id == ada.id
    with pytest.raises(WrongPassword):
        enter(database, code_at(secret, NOW + STEP), now=NOW + STEP, password="wrong password")
    with pytest.raises(CodeNeeded):
        enter(database, "")
    with pytest.raises(CodeNeeded):  # whoever cannot open the seal lets nobody in
        sign_in(database, "ada", PASSWORD, code=code_at(secret, NOW + STEP), now=NOW + STEP)


def test_a_code_is_good_once_and_every_earlier_one_is_spent_with_it(factor, database) -> None:
    secret, _ = factor
    enter(database, code_at(secret, NOW))
    for spent in (NOW, NOW - STEP):
        with pytest.raises(WrongCode):
            enter(database, code_at(secret, spent))
    enter(database, code_at(secret, NOW + STEP), now=NOW + STEP)


def test_a_code_replayed_at_once_opens_one_session(factor, database) -> None:
    code = code_at(factor[0], NOW)
    start = threading.Barrier(4)

    def replay(_: int) -> bool:
        start.wait()
        try:
            enter(database, code)
        except WrongCode:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(replay, range(4))) == 1


@pytest.mark.parametrize(("off", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_half_a_minute_off(factor, database, off, good) -> None:
    code = code_at(factor[0], NOW + off * STEP)
    if good:
        enter(database, code)
    else:
        with pytest.raises(WrongCode):
            enter(database, code)


def test_recovery_codes_stand_in_once_each(ada, factor, database) -> None:
    _, codes = factor
    assert enter(database, codes[3].upper().replace("-", " ")).id == ada.id
    with pytest.raises(WrongCode):
        enter(database, codes[3])
    with database.transaction() as session:
        assert second_factors.recovery_codes_left(session, ada.id) == 9


def refused_by(call) -> type[Exception]:
    with pytest.raises(MelodeonError) as refused:
        call()
    return type(refused.value)


def test_codes_cannot_be_guessed_even_by_who_knows_the_password(factor, database) -> None:
    answers = []
    for number in range(7):
        answers += [refused_by(lambda: enter(database, "")), refused_by(lambda: enter(database, f"{number:06d}"))]  # noqa: B023
    # The right password alone forgives nothing.
    assert answers == [CodeNeeded, WrongCode] * 5 + [SignInLocked] * 4


def test_the_code_that_puts_it_in_force_cannot_be_guessed_either(ada, database) -> None:
    totp_begin(database, ada, BOX, password=PASSWORD)
    answers = [refused_by(lambda: totp_confirm(database, ada, BOX, "000000", now=NOW)) for _ in range(7)]
    assert answers == [WrongCode] * 5 + [TooManyRequests] * 2


@pytest.fixture
def house(services) -> Services:
    """The services of an installation whose seal key and clock are those of these tests."""

    class House(Services):
        box = BOX
        now = staticmethod(lambda: NOW)

    return House(**{name: getattr(services, name) for name in (*Services.__slots__, "payments")})


@pytest.mark.parametrize("by", ["code", "recovery code"])
def test_switching_it_off_needs_both_proofs_and_takes_everything_away(
    ada, factor, house, database, letters, by
) -> None:
    secret, codes = factor
    right = code_at(secret, NOW) if by == "code" else codes[0]
    for wrong, error in (
        (Shown(password="wrong password", code=right), WrongPassword),
        (Shown(code=right), WrongPassword),
        (Shown(password=PASSWORD), CodeNeeded),
        (Shown(password=PASSWORD, code=code_at(secret, NOW + 3 * STEP)), WrongCode),
    ):
        with pytest.raises(error):
            totp_end(house, ada, wrong)
    with database.transaction() as session:
        assert second_factors.is_on(session, ada.id)
    totp_end(house, ada, Shown(password=PASSWORD, code=right))
    assert enter(database, "").id == ada.id
    with database.transaction() as session:
        assert second_factors.recovery_codes_left(session, ada.id) == 0
    assert len(letters.sent()) == 1


def test_the_secret_is_sealed_to_its_account_and_its_installation(ada, factor, database) -> None:
    secret, codes = factor
    with database.transaction() as session:
        kept = bytes(session.execute(text("SELECT sealed_secret FROM totp")).scalar_one())
        everything = str(session.execute(text("SELECT encode(code_hash, 'escape') FROM recovery_code")).all())
    assert secret.encode() not in kept
    assert not any(code in everything for code in codes)
    assert BOX.open(kept, of=ada.id) == secret
    altered = kept[:-1] + bytes([kept[-1] ^ 1])
    for box, sealed, of in ((BOX, kept, "acc_other"), (SealedBox("another"), kept, ada.id), (BOX, altered, ada.id)):
        with pytest.raises(BrokenSeal, match="seal_key"):
            box.open(sealed, of=of)
    for nothing in (b"", kept[:11], kept[:12]):
        with pytest.raises(BrokenSeal):
            BOX.open(nothing, of=ada.id)
    assert "tests" not in repr(BOX)


def test_a_sign_in_under_way_opens_nothing_once_the_password_is_another(ada, factor, database) -> None:
    secret, _ = factor
    code = code_at(secret, NOW)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            # The one who signs in passes the password and stops at the code, which is held here.
            session.execute(text("SELECT 1 FROM totp FOR UPDATE"))
            entering = pool.submit(enter, database, code)
            wait_for_a_lock(database)
            put_password(session, ada, hash_password("another horse entirely"), actor=ada.id, revoke_keys=True)
        with pytest.raises(WrongPassword):
            entering.result()
    assert enter(database, code_at(secret, NOW + STEP), now=NOW + STEP, password="another horse entirely").id == ada.id


def wait_for_a_lock(database) -> None:
    """Until somebody waits for a lock that another transaction holds."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    for _ in range(600):
        with database.transaction() as session:
            if session.execute(text(waiting)).scalar_one():
                return
        time.sleep(0.05)
    pytest.fail("nobody waits")
