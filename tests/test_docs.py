"""The documents tell the truth: every setting, command, error, door, link and file they must or do name."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

import click
import pytest
from pydantic import BaseModel

from configs.settings import Settings
from serving.api.answers import STATUS_OF_CODE
from serving.api.app import make_app
from serving.api.services import Services, open_services
from ui.cli.main import melodeon

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(ROOT.glob("docs/**/*.md"))
TABLES_OF_PATHS = (ROOT / "README.md", ROOT / "docs" / "architecture.md")
PACKAGE_HOSTS = (
    "pypi.",
    "pythonhosted.",
    "npmjs.",
    "yarnpkg.",
    "crates.io",
    "deb.debian.",
    "conda.",
    "jsdelivr.",
    "unpkg.",
)
PLACES = (
    "configs/",
    "studio/",
    "data/",
    "billing/",
    "analytics/",
    "serving/",
    "ui/",
    "deploy/",
    "tests/",
    "bench/",
    "tools/",
    "docs/",
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def settings_and_defaults() -> Iterator[tuple[str, object]]:
    """Every setting as its environment variable."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for key, inner in section.model_fields.items():
                yield f"MELODEON_{name}__{key}".upper(), inner.default
        else:
            yield f"MELODEON_{name}".upper(), field.default


def shown(default: object) -> str:
    """A default as the table writes it."""
    if default is None:
        return "none"
    if default == ():
        return "empty"
    if isinstance(default, PurePath):
        return default.relative_to(ROOT).as_posix() if default.is_absolute() else default.as_posix()
    return f"{default:g}" if isinstance(default, float) else str(default)


def commands(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """Every command with each of its options; the command itself with an empty one."""
    if isinstance(command, click.Group):
        for key, inner in command.commands.items():
            yield from commands(inner, f"{name} {key}")
    else:
        yield name, ""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for option in (*parameter.opts, *parameter.secondary_opts):
                yield name, option


def missing_settings(text: str) -> list[str]:
    """Settings without a row of their own that gives today's default."""
    rows = [f"| `{name}` | `{shown(default)}` |" for name, default in settings_and_defaults()]
    return [row for row in rows if row not in text]


def unknown_settings(text: str) -> list[str]:
    """Settings that the text names and the product does not have."""
    known = {name for name, _ in settings_and_defaults()} | {"MELODEON_CONFIG"}
    named = set(re.findall(r"\bMELODEON_[A-Z0-9_]+(?!\*)\b", text))
    return sorted(name for name in named - known if not name.endswith("__"))


def missing_commands(text: str) -> list[str]:
    """Commands without a row among the operators' commands; options that neither row nor paragraph there names."""
    section = text.partition("\n## Commands\n\n")[2].partition("\n## ")[0]
    parts = [part for block in section.split("\n\n") for part in (block.splitlines() if block[:1] == "|" else [block])]
    missing = []
    for name, option in commands(melodeon, "melodeon"):
        about = [part for part in parts if re.search(rf"`{name}[ `]", part)]
        described = any(re.search(rf"{option}(?![a-z-])", part) if option else part[0] == "|" for part in about)
        if not described:
            missing.append(f"{name} {option}".strip())
    return missing


def missing_errors(text: str) -> list[str]:
    """Error codes without a row that gives their status."""
    return [code for code, status in STATUS_OF_CODE.items() if f"| {status} | `{code}` |" not in text]


def missing_doors(text: str, paths: dict[str, dict[str, object]]) -> list[str]:
    """Doors of the OpenAPI document that the text does not name with their method."""
    doors = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    return [door for door in doors if f"`{door}`" not in text]


def unknown_doors(text: str, paths: dict[str, dict[str, object]]) -> list[str]:
    """Doors in the tables of the text that do not exist."""
    named = re.findall(r"^\| `([A-Z]+) (/[^`]*)` \|", text, re.MULTILINE)
    return [f"{method} {path}" for method, path in named if method.lower() not in paths.get(path, {})]


def anchors(text: str) -> set[str]:
    """Where links can lead to within a page: its headings, as GitHub names them, and the places named by hand."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    named = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    return named | set(re.findall(r'<a id="([^"]+)">', prose))


def dead_links(page: Path, text: str) -> list[str]:
    """Relative links to files that do not exist, or to places that are not in their page."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        lost = anchor and there.suffix == ".md" and there.exists() and anchor not in anchors(there.read_text("utf-8"))
        if "://" not in target and (lost or not there.exists()):
            dead.append(target)
    return dead


def missing_files(text: str) -> list[str]:
    """Paths in tables that name what does not exist."""
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    named = [*re.findall(r"`([\w./-]+)`", rows), *re.findall(r"\]\(([\w./-]+)\)", rows)]
    return [path for path in named if path.startswith(PLACES) and not (ROOT / path).exists()]


def package_hosts(text: str) -> list[str]:
    """Hosts of package registries: an installation uses whichever it is told to."""
    return [host for host in PACKAGE_HOSTS if host in text]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    from configs.secrets import load_or_create

    var = tmp_path_factory.mktemp("var")
    services: Services = open_services(Settings(var=var), load_or_create(var))
    try:
        return make_app(services).openapi()["paths"]
    finally:
        services.database.dispose()


@pytest.fixture(scope="module")
def everything() -> str:
    return "\n".join(path.read_text("utf-8") for path in DOCS)


@pytest.fixture(scope="module")
def api_text() -> str:
    return (ROOT / "docs" / "api.md").read_text("utf-8")


def test_every_setting_stands_with_its_default_among_the_operators_settings():
    text = (ROOT / "docs" / "operators.md").read_text("utf-8")
    assert missing_settings(text) == []
    assert missing_settings(text.replace("`8600`", "`8601`")) != []


def test_no_document_names_a_setting_that_does_not_exist(everything):
    assert unknown_settings(everything) == []
    assert unknown_settings("MELODEON_WEB__PROT=1") == ["MELODEON_WEB__PROT"]


def test_every_command_and_option_stands_among_the_operators_commands():
    text = (ROOT / "docs" / "operators.md").read_text("utf-8")
    assert missing_commands(text) == []
    assert missing_commands(text.replace("--note", "")) == ["melodeon credits grant --note"]
    without_row = "\n".join(line for line in text.splitlines() if not line.startswith("| `melodeon backup"))
    assert "melodeon backup" in missing_commands(without_row)
    assert "melodeon backup --follow" in missing_commands(without_row)


def test_every_error_stands_with_its_status(api_text):
    assert missing_errors(api_text) == []
    assert missing_errors(api_text.replace("| 402 |", "| 409 |")) == ["no_credits", "owes_credits"]


def test_the_doors_described_are_the_doors_there_are(api_text, paths):
    assert missing_doors(api_text, paths) == []
    assert unknown_doors(api_text, paths) == []
    assert missing_doors(api_text.replace("`GET /events`", ""), paths) == ["GET /events"]
    assert unknown_doors("| `GET /playlists` | later |", paths) == ["GET /playlists"]


@pytest.mark.parametrize("page", DOCS, ids=relative)
def test_every_relative_link_leads_somewhere(page):
    assert dead_links(page, page.read_text("utf-8")) == []
    assert dead_links(page, "[x](nowhere.md)") == ["nowhere.md"]
    assert dead_links(page, f"[x](#nowhere) [y]({page.name}#nowhere)") == ["#nowhere", f"{page.name}#nowhere"]


@pytest.mark.parametrize("page", TABLES_OF_PATHS, ids=relative)
def test_every_file_that_a_table_sends_people_to_exists(page):
    assert missing_files(page.read_text("utf-8")) == []
    assert missing_files("| change it | `studio/music/gone.py` |") == ["studio/music/gone.py"]
    assert missing_files("| look | [x](deploy/gone) `tools/gone.py` |") == ["tools/gone.py", "deploy/gone"]


@pytest.mark.parametrize("page", DOCS, ids=relative)
def test_no_document_names_a_package_registry(page):
    assert package_hosts(page.read_text("utf-8")) == []
    assert package_hosts("pip install -i https://pypi.org/simple") != []
