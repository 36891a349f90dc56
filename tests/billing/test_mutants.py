"""The tests can see bugs: a product with a seeded one makes them fail.

`mutants/ledger.toml` and `mutants/payments.toml` list the bugs. Each is made in a fresh database, in a function or in a
constant of ours, for as long as it takes and never in a file of the checkout. Then tests are run until one fails: of
the ledger those of `mutants/test_ledger_battery.py`; of payments the one test that the bug names, by a pytest inside
this one.
"""

import importlib
import importlib.util
import inspect
import re
import sys
import textwrap
import tomllib
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from data.database import Database
from data.embedded_postgres import EmbeddedPostgres
from data.testing import fresh_database

HERE = Path(__file__).parent / "mutants"
TESTS = Path(__file__).parents[1]
LISTS = {"ledger": 0.95, "payments": 1.0}
"""The lists of bugs, and the share of each that must be noticed."""

LEAST_MUTANTS = {"ledger": 40, "payments": 60}
LEAST_SHORT = 6


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One seeded bug; see the lists for what its words mean."""

    name: str
    function: str = ""
    python: str = ""
    constant: str = ""
    sql: str = ""
    old: str = ""
    new: str = ""
    test: str = ""
    short: bool = False

    @contextmanager
    def at_work(self, database: Database, *, keep: bool = True) -> Iterator[None]:
        """The product with this bug; ``keep`` False: the database is left without it."""
        if self.python or self.constant:
            with swapped(self.python, self.old, self.new) if self.python else revalued(self.constant, self.new):
                yield
            return
        with database.transaction() as session:
            session.execute(text((self.sql or self._function_with_bug(database)).replace(":", r"\:")))
            if not keep:
                session.rollback()
        yield

    def _function_with_bug(self, database: Database) -> str:
        with database.transaction() as session:
            found = session.execute(
                text("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = :name"), {"name": self.function}
            )
            return replaced(found.scalar_one(), self.old, self.new)


def mutants(name: str) -> list[Mutant]:
    listed = tomllib.loads((HERE / f"{name}.toml").read_text("utf-8"))["mutant"]
    return [Mutant(**one) for one in listed]


def replaced(source: str, old: str, new: str) -> str:
    if source.count(old) != 1:
        raise LookupError(f"{old!r} stands {source.count(old)} times, not once, in:\n{source}")
    return source.replace(old, new)


@contextmanager
def swapped(name: str, old: str, new: str) -> Iterator[None]:
    """A function or method of ours with other code: in place, so that whoever imported it has the bug too."""
    module_name, _, path = name.partition(":")
    module = importlib.import_module(module_name)
    function = function_at(module, path)
    source = textwrap.dedent(inspect.getsource(function))
    # without its decorators: they may note it somewhere, as routes are noted
    source = source[re.search(r"^(async )?def ", source, re.MULTILINE).start() :]
    namespace: dict[str, types.FunctionType] = {}
    exec(replaced(source, old, new), vars(module), namespace)
    healthy = function.__code__
    function.__code__ = namespace[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = healthy


def function_at(module: types.ModuleType, path: str) -> types.FunctionType:
    found: Any = module
    for step in path.split("."):
        found = inspect.getattr_static(found, step)
    return inspect.unwrap(found.fget if isinstance(found, property) else found)


@contextmanager
def revalued(name: str, new: str) -> Iterator[None]:
    """A constant of ours with another value, for the functions of its own module."""
    module_name, _, constant = name.partition(":")
    module = importlib.import_module(module_name)
    healthy = vars(module)[constant]
    bug = eval(new, vars(module))
    if repr(bug) == repr(healthy):
        raise LookupError(f"{name} is {new} already")
    setattr(module, constant, bug)
    try:
        yield
    finally:
        setattr(module, constant, healthy)


def battery() -> list[Callable[[Database], None]]:
    path = HERE / "test_ledger_battery.py"
    spec = importlib.util.spec_from_file_location("ledger_battery", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [test for name, test in vars(module).items() if name.startswith("test_")]


def killer_of(postgres: EmbeddedPostgres, mutant: Mutant) -> str:
    """The test that notices the bug, and how if it was named; empty when none does."""
    with fresh_database(postgres) as database, mutant.at_work(database):
        return noticed(postgres, mutant.test) if mutant.test else first_that_fails(database)


def first_that_fails(database: Database) -> str:
    for test in battery():
        try:
            test(database)
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it fails, it noticed
            return test.__name__
    return ""


class Watch:
    """Sees a pytest inside this one: its tests get our Postgres, and what fails first is kept."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.first = ""
        self._postgres = postgres

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> EmbeddedPostgres | None:
        if fixturedef.argname != "postgres":
            return None
        fixturedef.cached_result = (self._postgres, fixturedef.cache_key(request), None)
        return self._postgres

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.first:
            why = report.longrepr.reprcrash.message.partition("\n")[0]
            self.first = f"{report.nodeid.partition('::')[2]}: {why}"


INSIDE = (
    *("-o", "addopts=", "--import-mode=importlib", "--strict-markers", "--disable-plugin-autoload"),
    *("-p", "xdist", "--capture=no", "-x", "-m", ""),
    *(word for name in ("terminal", "cacheprovider", "faulthandler", "logging") for word in ("-p", f"no:{name}")),
)


def noticed(postgres: EmbeddedPostgres, *tests: str) -> str:
    """What the first of these tests to fail says; empty when all pass.

    Raises:
        LookupError: they could not be run.
    """
    watch = Watch(postgres)
    outcome = pytest.main([*INSIDE, *(str(TESTS / test) for test in tests)], plugins=[watch])
    if outcome not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise LookupError(f"{tests} could not be run: {outcome!r}")
    assert bool(watch.first) == (outcome is pytest.ExitCode.TESTS_FAILED)
    return watch.first


SHORT = [mutant for name in LISTS for mutant in mutants(name) if mutant.short]


@pytest.mark.parametrize("name", LISTS)
def test_the_lists_are_long_and_their_names_differ(name: str) -> None:
    listed = mutants(name)
    assert len({mutant.name for mutant in listed}) == len(listed) >= LEAST_MUTANTS[name]
    assert sum(mutant.short for mutant in listed) >= LEAST_SHORT


def test_there_are_tests_to_notice_them() -> None:
    assert len(battery()) >= 10
    for mutant in mutants("payments"):
        path, _, test = mutant.test.partition("::")
        assert f"def {test.partition('[')[0]}(" in (TESTS / path).read_text("utf-8"), mutant.name


def test_without_a_bug_nothing_is_noticed(postgres: EmbeddedPostgres, database: Database) -> None:
    # all tests on one database, as the mutants get them: else each bug would be noticed for the wrong reason
    assert first_that_fails(database) == ""
    assert noticed(postgres, *dict.fromkeys(mutant.test for mutant in SHORT if mutant.test)) == ""


def test_a_change_that_changes_nothing_is_not_noticed(postgres: EmbeddedPostgres) -> None:
    no_bug = Mutant(
        name="x",
        python="billing.fulfilment:_state_of",
        old='(record.payment_status == "paid" or free_trial)',
        new='(free_trial or record.payment_status == "paid")',
        test="billing/payments/test_async_payments.py::test_nothing_is_given_before_the_money_is_there",
    )
    assert killer_of(postgres, no_bug) == ""


def test_every_bug_can_still_be_made(postgres: EmbeddedPostgres) -> None:
    gone = []
    with fresh_database(postgres) as database:
        for mutant in (each for name in LISTS for each in mutants(name)):
            try:
                with mutant.at_work(database, keep=False):
                    pass
            except (LookupError, DBAPIError) as error:
                gone.append(f"{mutant.name}: {error}"[:300])
    assert gone == []


@pytest.mark.parametrize("mutant", SHORT, ids=lambda mutant: mutant.name)
def test_a_seeded_bug_is_noticed(postgres: EmbeddedPostgres, mutant: Mutant) -> None:
    assert killer_of(postgres, mutant)


@pytest.mark.long
@pytest.mark.parametrize(("name", "least_killed"), LISTS.items())
def test_nearly_all_seeded_bugs_are_noticed(postgres: EmbeddedPostgres, name: str, least_killed: float) -> None:
    killers = {}
    for mutant in mutants(name):
        killer = killers[mutant.name] = killer_of(postgres, mutant)
        sys.stdout.write(f"{'killed  ' if killer else 'SURVIVED'}  {mutant.name:<50} {killer}\n")
    survivors = [bug for bug, killer in killers.items() if not killer]
    assert 1 - len(survivors) / len(killers) >= least_killed, survivors


def test_a_bug_that_cannot_be_made_fails_the_run(postgres: EmbeddedPostgres) -> None:
    with fresh_database(postgres) as database:
        for gone in (
            Mutant(name="x", function="ledger_hold", old="gone"),
            Mutant(name="x", python="billing.ledger:hold", old="gone"),
            Mutant(name="x", constant="billing.handlers:ATTEMPTS_MAX", new="10"),
        ):
            with pytest.raises(LookupError), gone.at_work(database):
                pass
        with pytest.raises(DBAPIError), Mutant(name="x", sql="DROP TRIGGER gone ON hold").at_work(database):
            pass
    with pytest.raises(LookupError):
        noticed(postgres, "billing/test_signature.py::test_gone")
