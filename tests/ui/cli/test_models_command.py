"""``melodeon models`` and ``melodeon engines`` as a person and as a program read them."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from configs.secrets import load_or_create
from configs.settings import settings
from serving import catalogue
from serving.contract import ApplicationHealth, HealthAnswer
from ui.cli.engines import engines
from ui.cli.models import models

SERVE_FILE = """
applications:
  - {name: gateway, args: {}}
  - {name: songs, args: {engine: builtin-song}}
  - {name: words, args: {engine: own-words}}
"""
ENGINES_FILE = """
[own-words]
like = "qwen-4b"
label = "Own words"
checkpoint = {{source = "{folder}", architecture = "Qwen3ForCausalLM", memory_gb = 1, download_gb = 0}}

[lost-words]
like = "own-words"
checkpoint = {{source = "{folder}-lost", architecture = "Qwen3ForCausalLM", memory_gb = 1, download_gb = 0}}
"""


@pytest.fixture
def own_words(tmp_path: Path) -> Path:
    """A folder that has the form of a language model."""
    folder = tmp_path / "own-words-1"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    (folder / "tokenizer.json").write_text("{}")
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"12345678")
    return folder


@pytest.fixture
def var(tmp_path: Path, own_words: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation of its own: folder, Serve file and two more engines."""
    (tmp_path / "serve.yaml").write_text(SERVE_FILE)
    (tmp_path / "engines.toml").write_text(ENGINES_FILE.format(folder=own_words))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MELODEON_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("MELODEON_SERVE__CONFIG", str(tmp_path / "serve.yaml"))
    monkeypatch.setenv("MELODEON_SERVE__ENGINES_FILE", str(tmp_path / "engines.toml"))
    monkeypatch.setenv("MELODEON_SERVE__HTTP_PORT", str(port))
    monkeypatch.setenv("MELODEON_MODELS__OFFLINE", "true")
    _forget()
    yield tmp_path / "var"
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    """Settings are read once in a process; these tests read them again."""
    settings.cache_clear()


def run(*words: str) -> Result:
    command = {"models": models, "engines": engines}[words[0]]
    return CliRunner().invoke(command, words[1:])


def told(result: Result) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def row_of(answer: dict[str, Any], name: str) -> dict[str, Any]:
    rows = {row.get("name", row.get("engine")): row for row in next(v for v in answer.values() if isinstance(v, list))}
    row: dict[str, Any] = rows[name]
    return row


def test_the_list_shows_what_is_here_and_what_is_not(var: Path, own_words: Path) -> None:
    answer = told(run("models", "list", "--json"))
    assert row_of(answer, "own-words") == {
        "engine": "own-words",
        "folder": str(own_words),
        "source": str(own_words),
        "revision": "main",
        "size_bytes": sum(path.stat().st_size for path in own_words.iterdir()),
        "state": "held",
        "problem": "",
    }
    assert row_of(answer, "qwen-4b")["state"] == "absent"
    assert row_of(answer, "qwen-4b")["folder"] == str(var / "models" / "qwen-4b")
    assert "builtin-song" not in {row["engine"] for row in answer["checkpoints"]}
    plain = run("models", "list")
    assert plain.exit_code == 0
    assert any(line.startswith("absent") and "qwen-4b" in line for line in plain.stdout.splitlines())


def test_a_broken_checkpoint_is_listed_with_its_sentence(var: Path, own_words: Path) -> None:
    (own_words / "pytorch_model.bin").write_bytes(b"\x80")
    plain = run("models", "list").stdout
    assert "pytorch_model.bin is of a kind that may run code" in plain
    assert row_of(told(run("models", "list", "--json")), "own-words")["state"] == "broken"


def test_fetch_without_names_takes_what_the_serve_file_runs(var: Path, own_words: Path) -> None:
    done = run("models", "fetch", "--json")
    assert done.exit_code == 0, done.output
    answer = told(done)
    assert answer["ok"] is True
    assert [row["engine"] for row in answer["checkpoints"]] == ["own-words"]
    assert "used where it lies" in done.stderr
    (own_words / "tokenizer.json").write_text("[]")
    changed = run("models", "verify", "--json")
    assert changed.exit_code == 1
    assert told(changed)["ok"] is False
    assert "tokenizer.json was changed" in row_of(told(changed), "own-words")["problem"]


def test_one_failure_does_not_keep_the_others_from_being_fetched(var: Path) -> None:
    done = run("models", "fetch", "lost-words", "qwen-4b", "own-words", "--json")
    assert done.exit_code == 1
    answer = told(done)
    assert answer["ok"] is False
    assert [row["state"] for row in answer["checkpoints"]] == ["failed", "failed", "held"]
    assert [row.get("code") for row in answer["checkpoints"]] == ["no_checkpoint", "fetch_failed", None]
    assert "MELODEON_MODELS__OFFLINE is set" in done.stderr


def test_a_non_commercial_model_is_fetched_only_after_a_yes(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run("models", "fetch", "sdxl-turbo", "--json")
    assert row_of(told(refused), "sdxl-turbo")["code"] == "forbidden_model"
    assert "MELODEON_MODELS__NON_COMMERCIAL=true" in refused.stderr
    monkeypatch.setenv("MELODEON_MODELS__NON_COMMERCIAL", "true")
    _forget()
    assert row_of(told(run("models", "fetch", "sdxl-turbo", "--json")), "sdxl-turbo")["code"] == "fetch_failed"


def test_an_unknown_engine_is_named(var: Path) -> None:
    done = run("models", "fetch", "gpt-17")
    assert isinstance(done.exception, catalogue.UnknownEngine)
    assert "gpt-17" in str(done.exception)


def test_an_engine_without_weights_cannot_be_fetched(var: Path) -> None:
    done = run("models", "fetch", "builtin-song")
    assert done.exit_code == 1
    assert "no weights of its own" in done.stderr


def test_verify_speaks_of_what_is_here_or_was_named(var: Path) -> None:
    every = run("models", "verify", "--json")
    assert every.exit_code == 0
    assert [row["engine"] for row in told(every)["checkpoints"]] == ["own-words"]
    named = run("models", "verify", "lost-words")
    assert named.exit_code == 1
    assert named.stdout.startswith("absent")


def test_a_tiny_model_is_built_here_without_a_network(var: Path) -> None:
    done = run("models", "fetch", "tiny-qwen", "--json")
    assert done.exit_code == 0, done.output
    assert row_of(told(done), "tiny-qwen")["source"] == "tiny:qwen"
    assert (var / "models" / "tiny-qwen" / "melodeon-checkpoint.json").is_file()
    assert run("models", "verify", "tiny-qwen").exit_code == 0


def test_engines_tell_abilities_licences_cards_and_standing(var: Path) -> None:
    done = run("engines", "--json")
    assert done.exit_code == 0, done.output
    answer = told(done)
    assert answer["gateway"] == "Nothing has been started here yet."
    assert not (var / "secrets").exists()
    names = {row["name"] for row in answer["engines"]}
    assert names == {spec.name for spec in catalogue.known().engines()} > {"own-words", "builtin-song"}
    turbo = row_of(answer, "ace-step-turbo")
    assert turbo["tasks"] == ["text2music", "cover", "repaint", "extend"]
    assert (turbo["uses_guidance"], turbo["takes_together"], turbo["adapters"]) == (False, True, True)
    assert turbo["card"]["architecture"] == "AceStepPipeline"
    assert turbo["checkpoint"]["state"] == "absent"
    assert (turbo["served"], turbo["readiness"]) == (False, "not served")
    assert {control["name"] for control in turbo["controls"]} >= {"duration_s", "tempo_bpm", "key"}
    painter = row_of(answer, "sdxl-turbo")
    assert (painter["commercial"], painter["allowed"]) == (False, False)
    assert "may not be used commercially" in painter["why_not"]
    assert painter["tasks"] == []
    own = row_of(answer, "own-words")
    assert (own["served"], own["application"], own["readiness"]) == (True, "words", "not running")
    assert own["checkpoint"]["state"] == "held"
    assert row_of(answer, "builtin-song")["card"] is None


def test_engines_ask_the_gateway_when_something_was_started(var: Path) -> None:
    load_or_create(var)
    answer = told(run("engines", "--json"))
    assert answer["gateway"].startswith("The engines are not available")
    assert row_of(answer, "builtin-song")["readiness"] == "not running"
    assert row_of(answer, "builtin-song")["status"] == answer["gateway"]


@pytest.fixture
def gateway() -> Iterator[str]:
    """A gateway that says word for word what the contract promises; it knows no application “covers”."""
    answer = HealthAnswer(
        ready=False,
        applications={
            "songs": ApplicationHealth(ready=True, status="RUNNING", replicas=1, load_s=1.5, warm_up_s=0.25),
            "words": ApplicationHealth(ready=False, status="DEPLOYING", cold_start_s=40.0),
        },
    )

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.model_dump_json().encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_engines_show_what_the_gateway_says(var: Path, gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load_or_create(var)
    serve_file = var.parent / "serve.yaml"
    serve_file.write_text(serve_file.read_text() + "  - {name: covers, args: {engine: builtin-cover}}\n")
    monkeypatch.setenv("MELODEON_SERVE__GATEWAY_URL", gateway)
    _forget()
    answer = told(run("engines", "--json"))
    assert answer["gateway"] == "answers"
    songs, words, covers = (row_of(answer, name) for name in ("builtin-song", "own-words", "builtin-cover"))
    assert (songs["readiness"], songs["status"], songs["load_s"], songs["warm_up_s"]) == ("ready", "RUNNING", 1.5, 0.25)
    assert (words["readiness"], words["status"], words["cold_start_s"]) == ("not ready", "DEPLOYING", 40.0)
    assert covers["readiness"] == "not ready"
    assert "does not know its application yet" in covers["status"]


def test_engines_as_lines_for_people(var: Path) -> None:
    lines = run("engines").stdout.splitlines()
    assert any(line.startswith("sdxl-turbo") and "not for commercial use; weights absent" in line for line in lines)
    assert any(line.startswith("builtin-song") and "not running" in line and "no weights" in line for line in lines)
