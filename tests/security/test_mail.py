"""Letters: over real SMTP with TLS and passwords, or in files; none lost, none forged, none slow for whoever asked."""

import asyncio
import gc
import ipaddress
import ssl
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from configs.addresses import web_url
from configs.secrets import load_or_create
from configs.settings import DatabaseSettings, MailSettings, load
from data.database import Database, Session
from data.embedded_postgres import free_port
from data.repositories import accounts, outbox
from data.repositories.accounts import BadEmail, checked_email
from serving.letters import Letter
from serving.mail import BadMailAddress, FolderPost, MailNotSent, SmtpPost, message_of, open_post
from serving.post_round import letters_sent, send_waiting, sweep
from studio.words.letter import LetterKind

SENDER = "Melodeon <studio@example.org>"
HOME = "https://songs.example"
LETTER = Letter(to_address="ada@example.org", subject="Grüße · Melodeon", text="Hallo Ada,\n\n.\nviele Grüße\n")


class Mailbox:
    """What a real SMTP server does with what it gets; ``answer`` is what it says to each recipient."""

    def __init__(self) -> None:
        self.got: list[Envelope] = []
        self.answer = "250 OK"
        self.tls: list[bool] = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options) -> str:
        if self.answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.answer

    async def handle_DATA(self, _server, session, envelope) -> str:
        self.got.append(envelope)
        self.tls.append(session.ssl is not None)
        return "250 OK"


def _check(_server, _session, _envelope, _mechanism, data) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"melodeon", b"p@ss:word")
    return AuthResult(success=good, handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 with its key in one file, and a context that believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=2))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(pem))
    return path, ssl.create_default_context(cadata=made.public_bytes(pem).decode())


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@contextmanager
def running(controller: Controller) -> Iterator[Controller]:
    """The server at work. A connection that still closes at its end is collected here, not in some later test."""
    controller.start()
    yield controller
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        controller.stop()
        gc.collect()


@pytest.fixture
def server(mailbox) -> Iterator[Controller]:
    """A server without TLS."""
    options = {"enable_SMTPUTF8": True}
    with running(Controller(mailbox, hostname="127.0.0.1", port=free_port(), ready_timeout=60.0, **options)) as server:
        yield server


@pytest.fixture
def safe_server(mailbox, certificate) -> Iterator[Controller]:
    """A server that wants STARTTLS, then a password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[0])
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True,
        authenticator=_check, auth_required=True, ready_timeout=60.0,
    )  # fmt: skip
    with running(controller) as server:
        yield server


def port_of(controller: Controller) -> int:
    return int(controller.server.sockets[0].getsockname()[1])


def test_a_letter_arrives_as_it_was_written(server, mailbox) -> None:
    SmtpPost(f"smtp+plain://127.0.0.1:{port_of(server)}", SENDER).send(LETTER)
    (got,) = mailbox.got
    assert (got.mail_from, got.rcpt_tos) == ("studio@example.org", ["ada@example.org"])
    message = got.content.decode()
    for line in ("From: Melodeon <studio@example.org>", "To: ada@example.org", "Auto-Submitted: auto-generated"):
        assert line in message
    assert "Message-ID: <" in message
    assert "@example.org>" in message


def test_an_address_of_any_script_gets_its_letter(server, mailbox) -> None:
    post = SmtpPost(f"smtp+plain://127.0.0.1:{port_of(server)}", SENDER)
    post.send(Letter(to_address="ада@exämple.org", subject="x", text="x"))
    assert mailbox.got[0].rcpt_tos == ["ада@exämple.org"]


def test_starttls_and_the_password_are_used(safe_server, mailbox, certificate) -> None:
    url = f"smtp://melodeon:p%40ss%3Aword@127.0.0.1:{port_of(safe_server)}"
    post = SmtpPost(url, SENDER, trust=certificate[1])
    post.send(LETTER)
    assert mailbox.tls == [True]
    assert "p%40ss" not in repr(post)
    assert "p@ss" not in repr(post)


def test_nothing_is_sent_where_tls_is_not_to_be_had_or_not_to_be_trusted(server, safe_server, mailbox) -> None:
    for port in (port_of(server), port_of(safe_server)):
        with pytest.raises(MailNotSent) as refused:
            SmtpPost(f"smtp://127.0.0.1:{port}", SENDER).send(LETTER)
        # It is about the server: every letter waits until that is mended.
        assert refused.value.for_good is False
    with pytest.raises(MailNotSent, match="takes no password") as refused:
        SmtpPost(f"smtp+plain://melodeon:secret@127.0.0.1:{port_of(server)}", SENDER).send(LETTER)
    assert refused.value.for_good is False
    assert mailbox.got == []


def test_a_wrong_password_is_told_and_tried_again_later(safe_server, mailbox, certificate) -> None:
    url = f"smtp://melodeon:wrong@127.0.0.1:{port_of(safe_server)}"
    with pytest.raises(MailNotSent, match="535") as refused:
        SmtpPost(url, SENDER, trust=certificate[1]).send(LETTER)
    assert refused.value.for_good is False
    assert mailbox.got == []


@pytest.mark.parametrize(("answer", "for_good"), [("550 no such mailbox", True), ("451 try again later", False)])
def test_what_the_server_says_decides_whether_to_try_again(server, mailbox, answer, for_good) -> None:
    mailbox.answer = answer
    with pytest.raises(MailNotSent) as refused:
        SmtpPost(f"smtp+plain://127.0.0.1:{port_of(server)}", SENDER).send(LETTER)
    assert refused.value.for_good is for_good


def test_a_server_that_is_away_is_tried_again() -> None:
    with pytest.raises(MailNotSent, match="cannot be reached") as refused:
        SmtpPost(f"smtp+plain://127.0.0.1:{free_port()}", SENDER).send(LETTER)
    assert refused.value.for_good is False


@pytest.mark.parametrize(
    "url", ["", "mail.example.org", "http://mail.example.org", "smtp://", "smtp:///x", "file:///etc/passwd"]
)
def test_an_address_of_a_server_that_is_none_is_refused_at_the_start(url, tmp_path) -> None:
    with pytest.raises(BadMailAddress):
        open_post(MailSettings(smtp_url=url), tmp_path)


HOSTILE = [
    "ada@example.org\nBcc: eve@example.org", "ada@example.org\r\n\r\nHello", "ada@example.org,eve@example.org",
    "ada@example.org eve@example.org", "<ada@example.org>", "\"a b\"@example.org", "a(x)@example.org", "a@b;c.org",
    "a:b@c.de", "\x00@b.de", "ada@[127.0.0.1]", "ada@example..org", "@b.de", "ada", "",
]  # fmt: skip


@pytest.mark.parametrize("address", HOSTILE)
def test_no_address_becomes_a_header_or_a_second_recipient(address) -> None:
    if address:
        with pytest.raises(BadEmail):
            checked_email(address)
    with pytest.raises(MailNotSent) as refused:
        message_of(Letter(to_address=address, subject="x", text="x"), SENDER)
    assert refused.value.for_good is True


@given(st.emails())
def test_every_usual_address_can_be_written_to(address) -> None:
    try:
        checked_email(address)
    except BadEmail:
        return
    message = message_of(Letter(to_address=address, subject="x", text="x"), SENDER)
    assert [recipient.addr_spec for recipient in message["To"].addresses] == [address]


@settings(max_examples=150)
@given(st.text(max_size=60), st.text(max_size=200))
def test_whatever_is_written_headers_stay_ours(subject, body) -> None:
    try:
        message = message_of(Letter(to_address="ada@example.org", subject=subject, text=body), SENDER)
    except (MailNotSent, UnicodeEncodeError):
        return
    head = message.as_bytes().partition(b"\r\n\r\n")[0]
    assert {line.partition(b":")[0].lower() for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")} <= {
        b"from", b"to", b"subject", b"date", b"message-id", b"auto-submitted", b"content-type", b"mime-version",
        b"content-transfer-encoding",
    }  # fmt: skip


def test_files_are_whole_for_their_owner_only_and_never_the_same(tmp_path) -> None:
    post = FolderPost(tmp_path / "mail", SENDER)
    for _ in range(20):
        post.send(LETTER)
    files = list((tmp_path / "mail").iterdir())
    assert len({path.name for path in files}) == 20
    assert all(path.suffix == ".eml" and not path.name.startswith(".") for path in files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "mail").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path) -> None:
    (tmp_path / "mail").write_text("a file stands where the folder should")
    with pytest.raises(MailNotSent) as refused:
        FolderPost(tmp_path / "mail", SENDER).send(LETTER)
    assert refused.value.for_good is False


# the outbox


class Broken:
    """A post that fails as it is told."""

    def __init__(self, *, for_good: bool = False) -> None:
        self.for_good = for_good
        self.tried = 0

    def send(self, letter: Letter) -> None:
        self.tried += 1
        raise MailNotSent(f"no way to {len(letter.text)} characters", for_good=self.for_good)


@pytest.fixture
def ada(database):
    with database.transaction() as session:
        made = accounts.create(session, name="ada", password_hash=None)
        accounts.set_proved_email(session, made.id, "ada@example.org")
        outbox.put(session, LetterKind.PASSWORD_CHANGED, "ada@example.org", made.id)
        return made


def _wait(database: Database, seconds: float) -> None:
    with database.transaction() as session:
        session.execute(
            text("UPDATE mail SET ready_at = ready_at - make_interval(secs => :s), created_at = created_at"
                 " - make_interval(secs => :s)"), {"s": seconds}
        )  # fmt: skip


def test_a_letter_that_failed_is_tried_again_after_longer_and_longer_pauses(ada, database, tmp_path) -> None:
    broken, pauses = Broken(), []
    for _ in range(12):
        assert send_waiting(database, broken, address=HOME) == 0
        with database.transaction() as session:
            pauses.append(
                round(session.execute(text("SELECT extract(epoch FROM ready_at - now()) FROM mail")).scalar_one())
            )
        _wait(database, 3601)
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert send_waiting(database, FolderPost(tmp_path, SENDER), address=HOME) == 1
    assert send_waiting(database, FolderPost(tmp_path, SENDER), address=HOME) == 0


def test_a_letter_is_given_up_after_three_days_or_at_once_when_it_can_never_go(ada, database) -> None:
    broken = Broken()
    send_waiting(database, broken, address=HOME)
    _wait(database, 3 * 86_400 + 1)
    send_waiting(database, broken, address=HOME)
    _wait(database, 86_400)
    send_waiting(database, broken, address=HOME)
    assert broken.tried == 2
    with database.transaction() as session:
        outbox.put(session, LetterKind.PASSWORD_CHANGED, "ada@example.org", ada.id)
    send_waiting(database, Broken(for_good=True), address=HOME)
    with database.transaction() as session:
        assert standing(session) == (0, 2)
        assert outbox.standing(session).lost_lately == 1
        assert "no way" in session.execute(text("SELECT last_error FROM mail LIMIT 1")).scalar_one()
        session.execute(text("UPDATE mail SET given_up_at = now() - interval '31 days'"))
    sweep(database)
    with database.transaction() as session:
        assert standing(session) == (0, 0)


def standing(session: Session) -> tuple[int, int]:
    """How many letters wait, and how many were given up."""
    found = outbox.standing(session)
    return found.waiting, found.given_up


class Surprised:
    """A post that fails in a way nobody foresaw."""

    def send(self, letter: Letter) -> None:
        raise ValueError("odd")


def test_a_letter_at_which_sending_breaks_is_given_up_too(ada, database) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="odd"):
            send_waiting(database, Surprised(), address=HOME)
        _wait(database, 3 * 86_400 + 1)
    with database.transaction() as session:
        assert standing(session) == (0, 1)
        assert session.execute(text("SELECT last_error FROM mail")).scalar_one() == "ValueError"


def test_a_letter_whose_sender_died_is_sent_by_another_and_never_by_two_at_once(ada, database, tmp_path) -> None:
    with database.transaction() as session:
        assert outbox.take(session).attempts == 1  # … and its sender dies here
    assert send_waiting(database, FolderPost(tmp_path, SENDER), address=HOME) == 0
    _wait(database, 11)
    with database.transaction() as first, database.transaction() as second:
        assert outbox.take(first) is not None
        assert outbox.take(second) is None
    _wait(database, 21)
    assert send_waiting(database, FolderPost(tmp_path, SENDER), address=HOME) == 1


def test_a_letter_to_somebody_who_left_is_not_sent(ada, database, tmp_path) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE account SET deleted_at = now()"))
    assert send_waiting(database, FolderPost(tmp_path, SENDER), address=HOME) == 0
    with database.transaction() as session:
        assert standing(session) == (0, 0)


def test_a_transaction_that_fails_sends_nothing(ada, database, tmp_path) -> None:
    with database.transaction() as session:
        outbox.put(session, LetterKind.EMAIL_CHANGED, "ada@example.org", ada.id)
        session.rollback()
    assert send_waiting(database, FolderPost(tmp_path, SENDER), address=HOME) == 1  # the one of before


def test_the_worker_sends_letters_as_they_come(ada, database, tmp_path) -> None:
    chosen = load(var=tmp_path, database=DatabaseSettings(url=database.conninfo))

    async def until_there() -> list[Path]:
        async with letters_sent(chosen, load_or_create(tmp_path)), asyncio.timeout(60):
            while not (found := list((tmp_path / "mail").glob("*.eml"))):
                await asyncio.sleep(0.05)
        return found

    (letter,) = asyncio.run(until_there())
    assert chosen.mail.sender in letter.read_text()
    assert web_url(chosen) in letter.read_text()
