"""Known holes, careless code and secrets in the tree. ``make audit`` runs it.

    python tools/audit.py [--advisories FOLDER] [--json]

Three gates; each must pass for exit code 0:

- *advisories*: no pinned version of ``constraints.txt`` is affected by an advisory in FOLDER, a checkout of PyPA's
  advisory database (OSV format, https://github.com/pypa/advisory-database). Without FOLDER nothing is audited and the
  gate fails: "not audited" is not "no holes".
- *bandit*: no finding of high severity in the product's rooms.
- *secrets*: no key of a kind that a service gives out, and no private key, in any tracked file (detect-secrets).
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("configs", "studio", "data", "billing", "analytics", "serving", "ui")
DETECTORS: Final = (
    "ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "CloudantDetector", "DiscordBotTokenDetector",
    "GitHubTokenDetector", "GitLabTokenDetector", "JwtTokenDetector", "MailchimpDetector", "NpmDetector",
    "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector", "SendGridDetector", "SlackDetector",
    "SquareOAuthDetector", "StripeDetector", "TelegramBotTokenDetector", "TwilioKeyDetector",
)  # fmt: skip
"""Those that know the shape of a real key. Detectors by randomness or by words find hashes and form fields."""

FOLDED: Final = {".yaml", ".yml", ".eyaml"}

ACCEPTED: Final = {
    ("PYSEC-2021-427", "mpmath"): "its range was never closed; its own list of versions ends at 1.2.1, before our pin",
}
"""Advisories that do not concern us although they name our version, each with the reason."""


def pinned(constraints: Path) -> dict[str, Version]:
    """The versions that ``constraints.txt`` pins, by canonical name."""
    lines = (line.strip() for line in constraints.read_text("utf-8").splitlines())
    pairs = (line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version.split(";")[0].strip()) for name, version in pairs}


def known_holes(advisories: Path | None) -> list[str]:
    """`holes` of what ``constraints.txt`` pins, or the one line that nothing was audited."""
    if advisories is None or not (advisories / "vulns").is_dir():
        return ["not audited: name a checkout of the advisory database with --advisories"]
    return holes(pinned(ROOT / "constraints.txt"), advisories)


def holes(versions: Mapping[str, Version], advisories: Path) -> list[str]:
    """A line for each pinned version that an advisory affects, and for each advisory that cannot be read."""
    found = []
    for name, version in sorted(versions.items()):
        for path in sorted((advisories / "vulns" / name).glob("*.yaml")):
            try:
                hit = _affects(yaml.safe_load(path.read_text("utf-8")), name, version)
            except (yaml.YAMLError, InvalidVersion, KeyError, TypeError, AttributeError) as error:
                found.append(f"{path.stem} cannot be read ({type(error).__name__}): look at it by hand")
            else:
                if hit and (path.stem, name) not in ACCEPTED:
                    found.append(f"{path.stem} {name} {version}")
    return found


def _affects(advisory: Mapping[str, Any], name: str, version: Version) -> bool:
    if advisory.get("withdrawn"):
        return False
    about = [one for one in advisory.get("affected", ()) if canonicalize_name(one["package"]["name"]) == name]
    listed = [text for one in about for text in one.get("versions", ())]
    ranges = [span for one in about for span in one.get("ranges", ()) if span["type"] == "ECOSYSTEM"]
    return str(version) in map(_spelled, listed) or any(_in_range(span["events"], version) for span in ranges)


def _spelled(listed: str) -> str:
    """A listed version as PEP 440 spells it; what is none is none of ours."""
    try:
        return str(Version(listed))
    except InvalidVersion:
        return listed


def _version(text: str) -> Version:
    """A version as advisories write it: some carry a tail that PEP 440 does not know ("2.6.0-cu124", "2.7.1-NA")."""
    try:
        return Version(text)
    except InvalidVersion:
        return Version(text.partition("-")[0])


def _in_range(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    """Whether a version lies in a range of the OSV schema: its events, in order of versions, switch it on and off."""
    marks = [(_version(text), kind) for event in events for kind, text in event.items()]
    inside = False
    for mark, kind in sorted(marks):
        if kind == "introduced":
            inside = inside or version >= mark
        elif kind == "fixed":
            inside = inside and version < mark
        elif kind == "last_affected":
            inside = inside and version <= mark
    return inside


def careless(root: Path) -> list[str]:
    """Bandit's findings of high severity in the rooms under ``root``."""
    rooms = [str(root / room) for room in ROOMS if (root / room).is_dir()]
    command = [sys.executable, "-m", "bandit", "-q", "-r", *rooms, "-lll", "-f", "json", "-x", "node_modules"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    broken = [f"{error['filename']}: {error['reason']}" for error in report["errors"]]
    return broken + [f"{one['filename']}:{one['line_number']} {one['issue_text']}" for one in report["results"]]


def leaked(root: Path, files: Sequence[Path]) -> list[str]:
    """The lines of these files that hold something shaped like a service's key."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class  # noqa: PLC0415
    from detect_secrets.core.scan import scan_file  # noqa: PLC0415 - slow, and only this gate needs it
    from detect_secrets.settings import transient_settings  # noqa: PLC0415

    detectors: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    shapes = [shape for detector in detectors.values() if detector.__name__ in DETECTORS for shape in detector.denylist]
    with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}):
        return [
            f"{path.relative_to(root)}:{secret.line_number} {secret.type}"
            for path in files
            if _may_leak(path, shapes)
            for secret in scan_file(str(path))
        ]


def _may_leak(path: Path, shapes: Sequence[re.Pattern[str]]) -> bool:
    """Whether it is worth asking line by line, with every detector and filter, which takes many times as long.

    What a detector finds in a line, its patterns find in the whole text. YAML folds lines, so it is always asked.
    """
    text = path.read_text("utf-8", errors="replace")
    return path.suffix in FOLDED or any(shape.search(text) for shape in shapes)


def tracked(root: Path) -> Iterator[Path]:
    """Every tracked text file."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = root / name
        if path.is_file() and b"\0" not in path.read_bytes()[:8192]:
            yield path


def main() -> int:
    """Run the gates and tell what they found; answers the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--advisories", type=Path, help="a checkout of PyPA's advisory database")
    parser.add_argument("--json", action="store_true", help="JSON instead of lines")
    options = parser.parse_args()
    gates = {
        "advisories": known_holes(options.advisories),
        "bandit": careless(ROOT),
        "secrets": leaked(ROOT, list(tracked(ROOT))),
    }
    if options.json:
        print(json.dumps({"ok": not any(gates.values()), **gates}, indent=2))
    else:
        for gate, found in gates.items():
            print(f"{'FAIL' if found else 'ok  '}  {gate}")
            for line in found:
                print(f"      {line}")
    return 1 if any(gates.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
