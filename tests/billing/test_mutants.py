"""The tests can see bugs: a ledger with a seeded one makes them fail.

`mutants/ledger.toml` lists the bugs. Each is made in a fresh database (or in a function of ours, for as long as it
takes), never in a file of the checkout; then the tests of `mutants/test_ledger_battery.py` are run on it until one
fails.
"""

import importlib.util
import inspect
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from data.database import Database
from data.embedded_postgres import EmbeddedPostgres
from data.testing import fresh_database

HERE = Path(__file__).parent / "mutants"
LEAST_MUTANTS = 40
LEAST_KILLED = 0.95


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One seeded bug; see the list for what its words mean."""

    name: str
    function: str = ""
    python: str = ""
    sql: str = ""
    old: str = ""
    new: str = ""
    short: bool = False

    @contextmanager
    def at_work(self, database: Database, *, keep: bool = True) -> Iterator[None]:
        """The product with this bug; ``keep`` False: the database is left without it."""
        if self.python:
            with swapped(self.python, self.old, self.new):
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


def mutants() -> list[Mutant]:
    listed = tomllib.loads((HERE / "ledger.toml").read_text("utf-8"))["mutant"]
    return [Mutant(**one) for one in listed]


def replaced(source: str, old: str, new: str) -> str:
    if source.count(old) != 1:
        raise LookupError(f"{old!r} stands {source.count(old)} times, not once, in:\n{source}")
    return source.replace(old, new)


@contextmanager
def swapped(name: str, old: str, new: str) -> Iterator[None]:
    """A function of ours with other code: in place, so that whoever imported it has the bug too."""
    module_name, _, function_name = name.partition(":")
    module = importlib.import_module(module_name)
    function: types.FunctionType = getattr(module, function_name)
    namespace: dict[str, types.FunctionType] = {}
    exec(replaced(inspect.getsource(function), old, new), vars(module), namespace)
    healthy = function.__code__
    function.__code__ = namespace[function_name].__code__
    try:
        yield
    finally:
        function.__code__ = healthy


def battery() -> list[Callable[[Database], None]]:
    path = HERE / "test_ledger_battery.py"
    spec = importlib.util.spec_from_file_location("ledger_battery", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [test for name, test in vars(module).items() if name.startswith("test_")]


def killer_of(postgres: EmbeddedPostgres, mutant: Mutant) -> str:
    """The test that notices the bug; empty when none does."""
    with fresh_database(postgres) as database, mutant.at_work(database):
        return first_that_fails(database)


def first_that_fails(database: Database) -> str:
    for test in battery():
        try:
            test(database)
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it fails, it noticed
            return test.__name__
    return ""


SHORT = [mutant for mutant in mutants() if mutant.short]


def test_the_list_is_long_and_its_names_differ() -> None:
    assert len({mutant.name for mutant in mutants()}) == len(mutants()) >= LEAST_MUTANTS
    assert len(SHORT) >= 6
    assert len(battery()) >= 10


def test_without_a_bug_nothing_is_noticed(database: Database) -> None:
    # all tests on one database, as the mutants get them: else each bug would be noticed for the wrong reason
    assert first_that_fails(database) == ""


def test_every_bug_can_still_be_made(postgres: EmbeddedPostgres) -> None:
    gone = []
    with fresh_database(postgres) as database:
        for mutant in mutants():
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
def test_nearly_all_seeded_bugs_are_noticed(postgres: EmbeddedPostgres) -> None:
    killers = {}
    for mutant in mutants():
        killer = killers[mutant.name] = killer_of(postgres, mutant)
        sys.stdout.write(f"{'killed  ' if killer else 'SURVIVED'}  {mutant.name:<50} {killer}\n")
    survivors = [name for name, killer in killers.items() if not killer]
    assert 1 - len(survivors) / len(killers) >= LEAST_KILLED, survivors


def test_a_bug_that_cannot_be_made_fails_the_run(postgres: EmbeddedPostgres) -> None:
    with fresh_database(postgres) as database:
        with pytest.raises(LookupError), Mutant(name="x", function="ledger_hold", old="gone").at_work(database):
            pass
        with pytest.raises(DBAPIError), Mutant(name="x", sql="DROP TRIGGER gone ON hold").at_work(database):
            pass
    with pytest.raises(LookupError), Mutant(name="x", python="billing.ledger:hold", old="gone").at_work(database):
        pass
