"""Every package that running Melodeon installs is under a permissive licence, but for the exceptions stated here."""

import re
import tomllib
from collections.abc import Iterable
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
OWN = {"melodeon", "melodeon-ui"}
PROJECTS = (ROOT / "pyproject.toml", ROOT / "ui" / "components" / "melodeon_ui" / "pyproject.toml")
COPYLEFT = re.compile(r"GPL|GNU|AFFERO|\bMPL|MOZILLA|EUPL|CDDL|SSPL|BUSL|COMMONS CLAUSE|PROPRIETARY")
STATED = {
    "psycopg": "LGPL-3.0: imported as a library, unchanged, and replaceable",
    "psycopg-binary": "LGPL-3.0: psycopg's compiled half",
    "psycopg-pool": "LGPL-3.0: psycopg's pool, which Procrastinate uses",
    "certifi": "MPL-2.0: Mozilla's list of root certificates, unchanged",
    "tqdm": "MPL-2.0 in parts: the progress bars of the model libraries, unchanged",
}
"""Packages that are not permissive, each with the reason why it may be installed."""


def wanted(projects: Iterable[Path]) -> list[Requirement]:
    """What the projects ask for when they run, with models and without."""
    tables = [tomllib.loads(path.read_text("utf-8"))["project"] for path in projects]
    lines = [line for table in tables for line in table["dependencies"]]
    lines += [line for table in tables for line in table.get("optional-dependencies", {}).get("models", ())]
    return [Requirement(line) for line in lines]


def installed(requirements: list[Requirement]) -> dict[str, metadata.PackageMetadata]:
    """The packages that these requirements bring on this machine, by name, without our own."""
    found: dict[str, metadata.PackageMetadata] = {}
    seen, waiting = set(), list(requirements)
    while waiting:
        asked = waiting.pop()
        name, extras = canonicalize_name(asked.name), tuple(sorted(asked.extras))
        if (name, extras) in seen or name in OWN:
            continue
        seen.add((name, extras))
        distribution = metadata.distribution(name)
        found[name] = distribution.metadata
        inner = [Requirement(line) for line in distribution.requires or ()]
        waiting += [one for one in inner if _applies(one, extras)]
    return found


def _applies(requirement: Requirement, extras: tuple[str, ...]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or ("",))


def licence_of(package: metadata.PackageMetadata | Message) -> str:
    """The licence that a package states: its SPDX expression, else its classifiers, else its first words about it."""
    classifiers = [line.split(" :: ")[-1] for line in package.get_all("Classifier") or () if line.startswith("License")]
    words = (package.get("License") or "").strip().split("\n")[0]
    return package.get("License-Expression") or " or ".join(classifiers) or words


def not_permissive(packages: dict[str, metadata.PackageMetadata]) -> dict[str, str]:
    """Packages under a licence with conditions on what is built with them, or that state none."""
    licences = {name: licence_of(package) for name, package in packages.items()}
    return {name: licence for name, licence in licences.items() if not licence or COPYLEFT.search(licence.upper())}


def rows(packages: dict[str, metadata.PackageMetadata]) -> list[str]:
    """The table of the page, one row a package."""
    return [
        f"| {name} | {package['Version'].partition('+')[0]} | {licence_of(package)} |"
        for name, package in sorted(packages.items())
    ]


@pytest.fixture(scope="module")
def packages() -> dict[str, metadata.PackageMetadata]:
    return installed(wanted(PROJECTS))


def test_nothing_that_running_needs_is_copyleft_but_what_is_stated(packages):
    assert set(not_permissive(packages)) == set(STATED)


def test_the_check_sees_a_copyleft_package_deep_among_the_requirements():
    found = installed([Requirement("procrastinate")])
    assert {"psycopg", "psycopg-pool"} <= set(not_permissive(found))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("License", "GPLv2"),
        ("License-Expression", "AGPL-3.0-or-later"),
        ("Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"),
        ("Summary", "says nothing of its licence"),
    ],
)
def test_a_planted_licence_is_seen(field, text):
    package = Message()
    package[field] = text
    assert set(not_permissive({"planted": package})) == {"planted"}


def test_the_page_lists_every_package_with_its_licence(packages):
    text = PAGE.read_text("utf-8")
    missing = [row for row in rows(packages) if row not in text]
    assert missing == [], "docs/licences.md lacks:\n" + "\n".join(missing)
    assert all(f"| {name} |" in text.split("## Packages")[0] for name in STATED)


def test_the_page_lists_nothing_that_is_not_pinned():
    pinned = {canonicalize_name(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    listed = re.findall(r"^\| ([a-z0-9-]+) \| \S+ \| .+ \|$", PAGE.read_text("utf-8").split("## Packages")[1], re.M)
    assert listed
    assert set(listed) <= pinned
