"""Sending letters: by SMTP, or to files under ``var/mail`` where no server is configured."""

import os
import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from configs.settings import MailSettings
from data.repositories.accounts import BadEmail, checked_email
from serving.letters import Letter
from studio.errors import MelodeonError

_TIMEOUT_S: Final = 20.0
_PORTS: Final = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
_GONE_FOR_GOOD: Final = range(500, 600)


class MailNotSent(MelodeonError):
    """A letter did not go.

    Attributes:
        for_good: whether trying again is useless: the server refuses this letter or knows no such mailbox.
    """

    code = "mail_not_sent"

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(f"The letter could not be sent: {why}.")
        self.why = why
        self.for_good = for_good


class BadMailAddress(MelodeonError):
    """``MELODEON_MAIL__SMTP_URL`` is not one of the forms that are understood."""

    code = "bad_mail_address"

    def __init__(self) -> None:
        super().__init__(
            "Setting mail.smtp_url must look like smtp://user:password@host:587, smtps://… or smtp+plain://host:25."
        )


class Post(Protocol):
    """By which letters go out."""

    def send(self, letter: Letter) -> None:
        """Send one letter; raises `MailNotSent`."""


class FolderPost:
    """Writes each letter to a file of its own, readable by the owner only; ``.eml`` opens in every mail program."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    def send(self, letter: Letter) -> None:
        """Write the letter to a new file; it is never there by half."""
        message = message_of(letter, self._sender)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.urandom(4).hex()}.eml"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            aside = self._folder / f".{name}"
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(message.as_bytes())
            aside.rename(self._folder / name)
        except OSError as error:
            raise MailNotSent(f"{self._folder} cannot be written ({error.strerror})") from error


class SmtpPost:
    """Sends letters by an SMTP server.

    Args:
        url: ``smtps://`` (TLS at once), ``smtp://`` (STARTTLS, or nothing is sent), ``smtp+plain://`` (no TLS).
        sender: whom letters come from, ``Name <address>``.
        trust: which certificates are believed; the system's when absent.
    """

    def __init__(self, url: str, sender: str, *, trust: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise BadMailAddress
        self._kind = parts.scheme
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender = sender
        self._trust = trust or ssl.create_default_context()

    def __repr__(self) -> str:
        return f"SmtpPost({self._kind}://{self._host}:{self._port})"

    def send(self, letter: Letter) -> None:
        """Hand the letter to the server."""
        message = message_of(letter, self._sender)
        try:
            with self._connected() as server:
                server.send_message(message, from_addr=parseaddr(self._sender)[1], to_addrs=[letter.to_address])
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            raise MailNotSent("the mailbox was refused", for_good=codes <= set(_GONE_FOR_GOOD)) from None
        except smtplib.SMTPNotSupportedError:
            raise MailNotSent("the server cannot take such an address", for_good=True) from None
        except smtplib.SMTPResponseException as error:
            # 535 and the like are about us, not about the letter: whoever looks after the place may mend it
            raise MailNotSent(
                f"the server answered {error.smtp_code}", for_good=error.smtp_code in (552, 554)
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise MailNotSent(f"the server cannot be reached ({type(error).__name__})") from None

    def _connected(self) -> smtplib.SMTP:
        if self._kind == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_S, context=self._trust)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            if self._kind == "smtp":
                server.starttls(context=self._trust)
            if self._user:
                server.login(self._user, self._password)
        except smtplib.SMTPNotSupportedError:
            # about the server, not about the letter: it waits until whoever looks after the place has mended it
            server.close()
            raise MailNotSent("the server offers no TLS, or takes no password") from None
        except BaseException:
            server.close()
            raise
        return server


def open_post(settings: MailSettings, var: Path) -> Post:
    """The way by which this installation sends letters.

    Raises:
        BadMailAddress: the SMTP server's address is not understood.
    """
    if settings.smtp_url is None:
        return FolderPost(var / "mail", settings.sender)
    return SmtpPost(settings.smtp_url.get_secret_value(), settings.sender)


def message_of(letter: Letter, sender: str) -> EmailMessage:
    """The letter in the form that mail has (RFC 5322). No text of it can become a header.

    Raises:
        MailNotSent: the address is none that a header can hold; never to be tried again.
    """
    name, address = parseaddr(sender)
    user, _, domain = _checked(letter.to_address).rpartition("@")
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name=name, addr_spec=address)
    message["To"] = Address(username=user, domain=domain)
    try:
        message["Subject"] = letter.subject
    except ValueError as error:  # the library's answer to a line break
        raise MailNotSent("the subject cannot stand in a header", for_good=True) from error
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=address.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: holiday notes are not wanted
    message.set_content(letter.text)
    return message


def _checked(address: str) -> str:
    """The address, once more: one of before the rules became stricter may lie in the database."""
    try:
        checked = checked_email(address)
    except BadEmail:
        checked = ""
    if not checked:
        raise MailNotSent("the address cannot stand in a header", for_good=True)
    return checked
