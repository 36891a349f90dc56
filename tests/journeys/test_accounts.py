"""The life of an account in a browser: its address proved, its password lost and found, its second step, its end."""

import email
import email.policy
import io
import re
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pyotp
from PIL import Image
from playwright.sync_api import Page, Route, expect

from ui.testing import Stack, until

PASSWORD, NEW_PASSWORD = "correct horse battery", "a boat of paper and ink"
Person = Any
MakePerson = Callable[..., Person]


def link_in_letter(stack: Stack, address: str, kind: str) -> str:
    """The path and query of the newest link of this kind in the letters to an address."""

    def found() -> str | None:
        for path in sorted((stack.var / "mail").glob("*.eml"), reverse=True):
            letter = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            body = letter.get_body(("plain",))
            if address in str(letter["To"]) and body is not None:
                link = re.search(rf"/{kind}\?token=[\w-]+", body.get_content())
                if link is not None:
                    return link.group()
        return None

    return until(found, f"a letter to {address} holds a link to {kind}")


def sign_up_with_address(ada: Person, address: str) -> None:
    page = ada.open("/sign-in")
    page.get_by_role("tab", name="New here").click()
    form = page.get_by_role("tabpanel").filter(has_text="Make your account")
    form.get_by_label("Name", exact=True).fill(ada.name)
    form.get_by_label("E-mail (optional)").fill(address)
    form.get_by_label("Password", exact=True).fill(PASSWORD)
    form.get_by_role("button", name="Make my account").click()
    ada.signed_in()


def reset_password(ada: Person, stack: Stack, address: str) -> None:
    page = ada.open("/sign-in")
    page.get_by_role("button", name="Forgot your password?").click()
    page.get_by_label("E-mail", exact=True).fill(address)
    page.get_by_role("button", name="Send me a link").click()
    expect(page.get_by_text("a letter is on its way")).to_be_visible()
    ada.open(link_in_letter(stack, address, "reset"))
    page.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    page.get_by_label("New password again").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Set this password").click()
    expect(page.get_by_text("Your new password is set")).to_be_visible()


def switch_second_step_on(page: Page, stack: Stack) -> pyotp.TOTP:
    page.goto(f"{stack.web_url}/account?tab=Security")
    page.get_by_role("textbox", name="Your password").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Set it up").click()
    expect(page.get_by_role("img", name="The picture that an authenticator app reads")).to_be_visible()
    codes = pyotp.TOTP(page.get_by_test_id("stCode").inner_text().strip())
    page.get_by_label("Code from the app").fill(codes.now())
    page.get_by_role("button", name="Switch it on").click()
    expect(page.get_by_text("Keep these recovery codes")).to_be_visible()
    page.get_by_role("button", name="I have kept them").click()
    expect(page.get_by_text("Recovery codes left: 10.")).to_be_visible()
    return codes


def test_an_address_a_lost_password_a_second_step_and_the_end_of_every_session(
    person: MakePerson, stack: Stack
) -> None:
    ada = person("address-ada", arrive=False)
    address = "ada@example.org"
    sign_up_with_address(ada, address)
    expect(ada.page.get_by_text(f"Please confirm {address}")).to_be_visible()
    ada.open(link_in_letter(stack, address, "verify"))
    ada.page.get_by_role("button", name="Confirm this address").click()
    expect(ada.page.get_by_role("tabpanel").get_by_text("Confirmed")).to_be_visible()
    assert (ada.account().email, ada.account().email_verified) == (address, True)

    ada.page.locator(".st-key-sign_out").get_by_role("button").click()
    expect(ada.page.get_by_role("button", name="Sign in or sign up")).to_be_visible()
    reset_password(ada, stack, address)
    ada.sign_in(PASSWORD)
    expect(ada.page.get_by_text("The name or the password is wrong.")).to_be_visible()
    ada.sign_in(NEW_PASSWORD)
    ada.signed_in()
    codes = switch_second_step_on(ada.page, stack)

    phone = person(ada.name, arrive=False)
    phone.sign_in(NEW_PASSWORD)
    phone.page.get_by_label("Code", exact=True).fill("123456")
    code_form = phone.page.get_by_test_id("stForm").filter(has_text="Code")
    code_form.get_by_role("button", name="Sign in").click()
    expect(phone.page.get_by_text("This code is wrong")).to_be_visible()
    # The code that switched the step on is used up; a clock may be one step ahead.
    phone.page.get_by_label("Code", exact=True).fill(codes.at(int(time.time()) + 30))
    code_form.get_by_role("button", name="Sign in").click()
    phone.signed_in()
    me = f"{stack.web_url}/api/v1/auth/me"
    assert phone.page.request.get(me).ok

    ada.open("/account?tab=Security")
    ada.page.locator(".st-key-everywhere button").click()
    expect(ada.page.get_by_role("button", name="Sign in or sign up")).to_be_visible()
    assert phone.page.request.get(me).status == 401
    phone.page.get_by_test_id("stSidebarNavLink").filter(has_text="Library").click()
    expect(phone.page.get_by_role("button", name="Sign in or sign up")).to_be_visible()


def test_a_picture_a_new_password_an_archive_and_a_farewell(person: MakePerson, stack: Stack) -> None:
    person()  # the first one is the administrator, and the last administrator cannot go
    ada = person()
    page = ada.open("/account")
    picture = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(picture, "PNG")
    page.locator("input[type=file]").set_input_files(
        [{"name": "me.png", "mimeType": "image/png", "buffer": picture.getvalue()}]
    )
    expect(page.get_by_text("me.png")).to_be_visible()
    page.get_by_role("button", name="Use this picture").click()
    expect(page.get_by_role("button", name="Remove the picture")).to_be_visible()
    assert stack.services.store.head(ada.account().avatar_key) is not None

    page.goto(f"{stack.web_url}/account?tab=Security")
    page.get_by_label("Present password").fill(PASSWORD)
    for label in ("New password", "New password again"):
        page.get_by_role("textbox", name=label, exact=True).fill(NEW_PASSWORD)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("Your password is changed")).to_be_visible()
    ada.signed_in()

    page.goto(f"{stack.web_url}/account?tab=Your+data")
    address = page.get_by_role("link", name="Download everything").get_attribute("href")
    answer = page.request.get(f"{stack.web_url}{address}")
    archive = zipfile.ZipFile(io.BytesIO(answer.body()))
    assert archive.testzip() is None
    assert ada.name in archive.read("tables/account.jsonl").decode()
    assert "account/picture.webp" in archive.namelist()

    page.get_by_label("Type your name to confirm").fill(ada.name)
    page.get_by_role("textbox", name="Your password").fill(NEW_PASSWORD)
    # A browser that is slow to load what draws a message: the page has run again by then, to hand its cookie back.
    slow: list[Route] = []

    def hold(route: Route) -> None:
        slow.append(route)

    page.route("**/Toast*.js", hold)
    handed_back = page.expect_response(lambda answer: answer.url.endswith("/auth/session"))
    with page.expect_request("**/Toast*.js"), handed_back:
        page.get_by_role("button", name="Delete my account for ever").click()
    expect(page.get_by_role("button", name="Sign in or sign up")).to_be_visible()
    slow[0].continue_()
    expect(page.get_by_text("Your account is deleted")).to_be_visible()
    ada.sign_in(NEW_PASSWORD)
    expect(page.get_by_text("The name or the password is wrong.")).to_be_visible()
