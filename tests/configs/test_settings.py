"""Settings: the environment wins over the file, nothing unknown passes, nothing changes afterwards."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.settings import Settings, UnknownSetting, load


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes the settings file that is read."""

    def write(text: str) -> None:
        path = tmp_path / "melodeon.toml"
        path.write_text(text)
        monkeypatch.setenv("MELODEON_CONFIG", str(path))

    write("")
    return write


def refused() -> str:
    with pytest.raises(UnknownSetting) as found:
        load()
    return str(found.value)


def test_the_environment_wins_over_the_file_name_by_name(config, monkeypatch) -> None:
    config('signup_credits = 7\n[web]\nport = 9000\nhost = "0.0.0.0"')
    monkeypatch.setenv("MELODEON_WEB__PORT", "9001")
    settings = load()
    assert (settings.signup_credits, settings.web.port, settings.web.host) == (7, 9001, "0.0.0.0")
    assert load(signup_credits=3).signup_credits == 3


def test_the_folder_is_absolute_and_defaults_hold(config) -> None:
    assert load().var.is_absolute()
    assert load().database.url is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [("MELODEON_WEB__PROT", "MELODEON_WEB__PORT"), ("MELODEON_SIGNUP_CREDIT", "MELODEON_SIGNUP_CREDITS"),
     ("melodeon_web__hots", "MELODEON_WEB__HOST")],
)  # fmt: skip
def test_an_unknown_variable_is_refused_with_the_nearest_name(config, monkeypatch, name, hint) -> None:
    monkeypatch.setenv(name, "1")
    assert refused() == f"There is no setting {name}. Did you mean {hint}?"


def test_every_unknown_variable_is_named_at_once(config, monkeypatch) -> None:
    monkeypatch.setenv("MELODEON_ZZZZ", "1")
    monkeypatch.setenv("MELODEON_WEB__PROT", "1")
    assert len(refused().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[web]\nprot = 1", "There is no setting web.prot. Did you mean MELODEON_WEB__PORT?"),
        ("[wbe]\nport = 1", "There is no setting wbe."),
        ("[web]\nport = 70000", "Setting web.port: Input should be less than or equal to 65535."),
        ('[logs]\nlevel = "LOUD"', "Setting logs.level:"),
        ("[web", "cannot be read:"),
        ("[serve]\nhttp_port = 0", "Setting serve.http_port:"),
        ("[worker]\nheartbeat_s = 20", "Setting worker: lease_s must be at least twice heartbeat_s"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(config, text, sentence) -> None:
    config(text)
    assert sentence in refused()


def test_a_file_that_is_named_must_exist(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MELODEON_CONFIG", str(tmp_path / "nowhere.toml"))
    assert "nowhere.toml cannot be read" in refused()


def test_a_section_as_broken_json_is_refused(config, monkeypatch) -> None:
    monkeypatch.setenv("MELODEON_WEB", "{port")
    assert "web" in refused()
    monkeypatch.setenv("MELODEON_WEB", '{"port": 9002}')
    assert load().web.port == 9002


def test_secrets_are_neither_repeated_nor_shown(config, monkeypatch) -> None:
    monkeypatch.setenv("MELODEON_STORE__SECRET_KEY", "hush")
    assert "hush" not in repr(load())
    monkeypatch.setenv("MELODEON_STORE__KIND", "hush")
    assert "hush" not in refused()


def test_nothing_can_be_changed_afterwards(config) -> None:
    settings = load()
    for target, name in ((settings, "signup_credits"), (settings.web, "port")):
        with pytest.raises(ValidationError):
            setattr(target, name, 1)


def test_the_packaged_file_is_fine() -> None:
    assert isinstance(load(), Settings)
