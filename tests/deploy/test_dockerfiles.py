"""The images: what each is built from exists, is installed as tested, and holds nothing it should not."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from configs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = ("analytics", "billing", "configs", "data", "serving", "studio", "ui")
INSTALL = "python -m pip install --no-cache-dir -c constraints.txt "


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One instruction of a Dockerfile."""

    word: str
    text: str

    @property
    def listed(self) -> list[str]:
        """The arguments, written as a JSON list or separated by spaces."""
        return json.loads(self.text) if self.text.startswith("[") else self.text.split()


def read_dockerfile(path: Path) -> list[Line]:
    whole = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = [line.strip() for line in whole.replace("\\\n", " ").splitlines() if line.strip()]
    return [Line(word=line.split()[0], text=" ".join(line.split()[1:])) for line in lines]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.stem)
def lines(request: pytest.FixtureRequest) -> list[Line]:
    return read_dockerfile(request.param)


def texts(lines: list[Line], word: str) -> list[str]:
    return [line.text for line in lines if line.word == word]


def environment(lines: list[Line]) -> dict[str, str]:
    return dict(pair.split("=", 1) for text in texts(lines, "ENV") for pair in shlex.split(text))


def reaches_the_builder(path: str) -> bool:
    """Whether ``.dockerignore`` lets this path of the checkout into the build: the last rule that fits decides."""
    sent = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = rule.lstrip("!")
        if not pattern or pattern.startswith("#"):
            continue
        parents = [path, *(parent.as_posix() for parent in Path(path).parents)]
        anywhere = pattern.removeprefix("**/")
        names = Path(path).parts if anywhere != pattern else parents
        if any(fnmatch(name, anywhere) for name in names):
            sent = rule.startswith("!")
    return sent


def test_there_is_an_image_for_each_part():
    assert [path.stem for path in DOCKERFILES] == ["ray-gpu", "web", "worker"]


def test_only_known_instructions_are_used(lines):
    known = {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert {line.word for line in lines} <= known
    assert next(line.word for line in lines) == "FROM"


def test_what_is_copied_exists_and_reaches_the_builder(lines):
    for text in texts(lines, "COPY"):
        *sources, _ = text.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert source == "." or reaches_the_builder(source)


FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")
BUILT = ("ui/components/melodeon_ui/frontend/build", "configs/serve/cluster.yaml")


@pytest.mark.parametrize("path", [*ROOMS, *FILES, *BUILT])
def test_the_product_reaches_the_builder(path):
    assert (ROOT / path).exists()
    assert reaches_the_builder(path)


@pytest.mark.parametrize("path", ["var/secrets/gateway_key", "var", ".git/config", ".venv/bin/python", ".env", "tests",
                                  "bench", "deploy/kubernetes/overlays/example/secrets/gateway_key", "songs",
                                  "configs/__pycache__/a.pyc", "melodeon.egg-info/PKG-INFO",
                                  "ui/components/melodeon_ui/frontend/node_modules/a"])  # fmt: skip
def test_what_is_private_or_local_does_not(path):
    assert not reaches_the_builder(path)


def test_the_base_is_a_python_that_the_product_is_tested_with(lines):
    [base] = texts(lines, "FROM")
    assert re.fullmatch(r"python:3\.(11|12|13)-slim-[a-z]+", base)


def test_every_install_is_constrained_and_its_extras_exist(lines):
    installs = [text for text in texts(lines, "RUN") if "pip" in text]
    assert installs
    extras = PROJECT["project"]["optional-dependencies"]
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    for text in installs:
        assert text.startswith(INSTALL), text
        for argument in shlex.split(text.removeprefix(INSTALL)):
            path, _, extra = argument.partition("[")
            assert argument == "-e" or argument in constraints or (ROOT / path / "pyproject.toml").exists(), argument
            assert all(name in extras for name in extra.rstrip("]").split(",") if name), argument


def test_torch_is_only_on_the_cards_image_and_its_build_for_cards():
    for path in DOCKERFILES:
        runs = " ".join(texts(read_dockerfile(path), "RUN"))
        assert ("torch==2.13.0" in runs) == ("[models]" in runs) == ("torch.version.cuda" in runs)
        assert ("torch" in runs) == (path.stem == "ray-gpu")


def test_nobody_is_root_and_the_user_is_the_one_of_the_manifests(lines):
    [user] = texts(lines, "USER")
    assert any(f"useradd --uid {user} " in text for text in texts(lines, "RUN"))
    words = [line.word for line in lines]
    assert "RUN" not in words[words.index("USER") :]
    web = (ROOT / "deploy" / "kubernetes" / "base" / "web.yaml").read_text()
    assert yaml.safe_load(web.split("---")[0])["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(user)


def test_the_environment_is_made_of_settings_and_holds_no_secret(lines):
    for name, value in environment(lines).items():
        assert not re.search(r"(?i)token$|_key$|password|secret", name), name
        section, _, key = name.removeprefix("MELODEON_").lower().partition("__")
        if name.startswith("MELODEON_"):
            field = Settings.model_fields[section]
            assert not key or key in field.annotation.model_fields
        assert "://" not in value


def test_what_the_image_starts_and_asks_is_there(lines, doors):
    [command] = [line.listed for line in lines if line.word == "CMD"]
    if command[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(command[2])
    else:
        assert shutil.which(command[0], path=str(Path(sys.executable).parent))
    [health] = texts(lines, "HEALTHCHECK")
    test = json.loads(health[health.index("CMD ") + 4 :])
    assert test[0] in ("python", "sh", "wget")
    if "/api/v1" in health:
        address = re.search(r"127\.0\.0\.1:(\d+)(/api/v1[/a-z]*)", health)
        assert (int(address[1]), [address[1]]) == (Settings.model_fields["web"].default.port, texts(lines, "EXPOSE"))
        assert address[2] in doors


def test_the_workers_sign_of_life_is_judged_as_it_should_be(tmp_path):
    [health] = texts(read_dockerfile(ROOT / "deploy" / "docker" / "worker.Dockerfile"), "HEALTHCHECK")
    test = json.loads(health[health.index("CMD ") + 4 :])
    beat = tmp_path / "worker.beat"
    test[-1] = test[-1].replace("/var/lib/melodeon/run/worker.beat", str(beat))

    def well() -> bool:
        return subprocess.run(test, capture_output=True, check=False).returncode == 0

    assert not well()
    beat.touch()
    assert well()
    old = beat.stat().st_mtime - 400
    os.utime(beat, (old, old))
    assert not well()


def test_nothing_for_operators_names_a_package_registry():
    hosts = ("pypi.", "pythonhosted.", "index-url", "npmjs.", "conda.", "download.pytorch")
    for path in [ROOT / ".dockerignore", *(ROOT / "deploy").rglob("*"), *(ROOT / "configs" / "serve").iterdir()]:
        if path.is_file() and path.suffix != ".pyc":
            assert not any(host in path.read_text() for host in hosts), path


def installs() -> dict[str, list[str]]:
    """The images by what they install; those that install the same stand together."""
    same: dict[tuple[str, ...], list[str]] = {}
    for path in DOCKERFILES:
        runs = tuple(t for t in texts(read_dockerfile(path), "RUN") if t.startswith("python -m") and "-c " in t)
        same.setdefault(runs, []).append(path.stem)
    return {" ".join(names): list(runs) for runs, names in same.items()}


@pytest.mark.long
@pytest.mark.parametrize("images", installs())
def test_the_images_steps_install_the_product_into_an_empty_environment(images, tmp_path):
    """Every step of pip, in order, on a copy of what reaches the builder. torch comes as pip resolves it here."""
    context = tmp_path / "context"
    for name in (*ROOMS, *FILES):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                context / name,
                ignore=lambda folder, names: {
                    each
                    for each in names
                    if not reaches_the_builder((Path(folder) / each).relative_to(ROOT).as_posix())
                },
            )
        else:
            context.mkdir(exist_ok=True)
            shutil.copy(source, context / name)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binaries = tmp_path / "venv" / "bin"
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    own |= {"PATH": f"{binaries}:{own['PATH']}", "MELODEON_VAR": str(tmp_path / "var")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=context, env=own, capture_output=True, text=True, check=False)

    for step in installs()[images]:
        done = run("sh", "-c", step)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert run("python", "-m", "pip", "check").returncode == 0
    assert run("melodeon", "--version").returncode == 0
    for name in images.split():
        [command] = [
            line.listed for line in read_dockerfile(ROOT / f"deploy/docker/{name}.Dockerfile") if line.word == "CMD"
        ]
        started = (
            run("python", "-c", f"import {command[2]}") if command[0] == "python" else run(command[0], "--version")
        )
        assert started.returncode == 0, started.stderr[-2000:]
    torch = run("python", "-c", "import torch; print(torch.__version__)")
    assert (torch.returncode == 0) == ("ray-gpu" in images)
    assert "ray-gpu" not in images or torch.stdout.startswith("2.13.0")
