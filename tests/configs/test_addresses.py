"""Addresses: where the parts are, and what other commands learn from what runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import make_url

from configs.addresses import (
    Login,
    Running,
    attach,
    database_url,
    forget_running,
    gateway_url,
    login_passwords,
    read_running,
    web_url,
    write_running,
)
from configs.secrets import load_or_create
from configs.settings import UnknownSetting, load


def running(pid: int) -> Running:
    return Running(pid=pid, web_url="http://127.0.0.1:9100", gateway_url="http://127.0.0.1:9110", database_port=9133)


def test_what_runs_is_found_and_forgotten(tmp_path: Path) -> None:
    assert read_running(tmp_path) is None
    write_running(tmp_path, running(os.getpid()))
    assert read_running(tmp_path) == running(os.getpid())
    forget_running(tmp_path)
    forget_running(tmp_path)
    assert read_running(tmp_path) is None
    assert list((tmp_path / "run").iterdir()) == []


def test_what_a_dead_supervisor_left_is_ignored(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_running(tmp_path, running(dead.pid))
    assert read_running(tmp_path) is None
    settings = load(var=tmp_path)
    assert attach(settings) == settings


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1, "more": 2}', "\0"])
def test_a_broken_note_is_ignored(tmp_path: Path, content: str) -> None:
    write_running(tmp_path, running(os.getpid()))
    (tmp_path / "run" / "running.json").write_text(content)
    assert read_running(tmp_path) is None


def test_other_commands_use_the_ports_that_are_in_use(tmp_path: Path) -> None:
    write_running(tmp_path, running(os.getpid()))
    settings = attach(load(var=tmp_path))
    assert gateway_url(settings) == "http://127.0.0.1:9110"
    assert web_url(settings) == "http://127.0.0.1:9100"
    assert ":9133/melodeon" in database_url(settings, load_or_create(tmp_path), role="app")


@pytest.mark.parametrize(
    ("web", "address"),
    [
        ({}, "http://127.0.0.1:8600"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8600"),
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        ({"public_url": "https://songs.example/"}, "https://songs.example"),
    ],
)
def test_the_address_of_the_pages(web: dict, address: str) -> None:
    assert web_url(load(web=web)) == address


def test_a_database_elsewhere_is_taken_as_it_is(tmp_path: Path) -> None:
    url = "postgresql://me:p@db.example/songs"
    secrets = load_or_create(tmp_path)
    for role in get_args(Login):
        assert database_url(load(database={"url": url}), secrets, role=role) == url


def test_a_part_may_have_an_address_of_its_own_in_a_database_elsewhere(tmp_path: Path) -> None:
    given = {"url": "postgresql://app@db/songs", "worker_url": "postgresql://worker@db/songs"}
    settings, secrets = load(database=given), load_or_create(tmp_path)
    assert database_url(settings, secrets, role="worker") == given["worker_url"]
    assert {database_url(settings, secrets, role=role) for role in ("app", "owner", "billing")} == {given["url"]}
    with pytest.raises(UnknownSetting, match="need url beside them"):
        load(database={"owner_url": given["url"]})


def test_every_part_has_a_login_of_its_own_in_the_embedded_server(tmp_path: Path) -> None:
    secrets = load_or_create(tmp_path)
    urls = {role: make_url(database_url(load(), secrets, role=role)) for role in get_args(Login)}
    assert len({url.username for url in urls.values()}) == len({url.password for url in urls.values()}) == len(urls)
    assert login_passwords(secrets) == {url.username: url.password for role, url in urls.items() if role != "owner"}
