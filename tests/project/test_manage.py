"""manage.py: honest exit codes, one line for an error, and its own database."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from project.postgres_commands import explain, main
from tests.project.servers import BASE_DIR

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
COUNT = "from chains.models import User; print(User.objects.count())"


@pytest.fixture
def manage(monkeypatch, capsys):
    """Runs a command in this process; its exit code, stdout and the lines of stderr."""

    def run(*arguments: str, **environment: str):
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.delenv("STRATA_DEBUG", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(["manage.py", *arguments])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


def start(*arguments: str, var: Path, python: str = sys.executable, **environment: str):
    kept = {name: text for name, text in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.Popen(
        [python, str(BASE_DIR / "manage.py"), *arguments],
        cwd="/",
        env={**kept, "STRATA_VAR": str(var), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such_command"], "no command no_such_command"),
        (["migrat"], "did you mean migrate?"),
        (["migrate", "--no-such-option"], "unrecognized arguments"),
        (["show_chain"], "required"),
        (["demo", "--port", "70000"], "give a number from 1 to 65535"),
        (["run_web", "--port", "x"], "give a number from 1 to 65535"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(manage, arguments, words):
    code, out, err = manage(*arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert words in err[0]


def test_the_help_of_every_command_is_no_error(manage):
    assert manage("help", "migrate")[0] == 0
    assert manage("migrate", "--help")[0] == 0
    assert manage("version")[0] == 0


def test_a_database_that_is_not_there(manage):
    code, _, err = manage("showmigrations", DATABASE_URL=NOWHERE)
    assert (code, len(err)) == (1, 1)
    assert "the database can not be reached" in err[0]
    assert "refused" in err[0]


def test_a_trail_that_can_not_be_read_is_neither_sound_nor_tampered_with(manage):
    code, out, err = manage("verify_audit", DATABASE_URL=NOWHERE)
    assert (code, out, len(err)) == (2, "", 1)
    assert "the database can not be reached" in err[0]
    assert manage("verify_audit", "--expect", "abc", DATABASE_URL=NOWHERE)[0] == 2


def test_an_address_that_is_none(manage):
    code, _, err = manage("showmigrations", DATABASE_URL="gibberish")
    assert (code, len(err)) == (2, 1)
    assert "DATABASE_URL" in err[0]


def test_a_traceback_only_for_those_who_ask(manage):
    with pytest.raises(Exception, match="refused"):
        manage("showmigrations", "--traceback", DATABASE_URL=NOWHERE)
    with pytest.raises(Exception, match="refused"):
        manage("showmigrations", DATABASE_URL=NOWHERE, STRATA_DEBUG="1")


def test_errors_are_explained_in_one_line():
    assert explain(CommandError("a\n b")) == "a b"
    assert explain(ValueError("x")) == "ValueError: x"
    assert explain(RuntimeError()) == "RuntimeError"


def test_a_command_brings_its_own_database_and_tables_even_twice_at_once(var):
    both = [start("shell", "--verbosity=0", "-c", COUNT, var=var) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip(), err) == (0, "0", "")


def test_a_bad_setting_ctrl_c_and_a_closed_pipe(old_var):
    bad = start("shell", var=old_var, STRATA_DEBUG="perhaps")
    script = "import time; print('here', flush=True); time.sleep(60)"
    sleeper = start("shell", "--verbosity=0", "-c", script, var=old_var)
    talker = start("shell", "--verbosity=0", "-c", "print('x\\n' * 500_000)", var=old_var)
    talker.stdout.close()

    assert sleeper.stdout.readline() == "here\n"
    sleeper.send_signal(signal.SIGINT)
    assert sleeper.communicate(timeout=30)[1] == ""
    assert sleeper.returncode == 130

    assert talker.stderr.read() == ""
    assert talker.wait(30) == 141

    _, err = bad.communicate(timeout=30)
    assert bad.returncode == 2
    assert err == "strata: the setting STRATA_DEBUG='perhaps' can not be used: say 1 or 0\n"


def outside_python() -> str:
    """A Python without Strata's packages."""
    for python in ("/usr/bin/python3", getattr(sys, "_base_executable", "")):
        probe = [python, "-c", "import procrastinate"]
        if python and Path(python).exists():
            seen = subprocess.run(probe, capture_output=True, text=True, check=False)
            if "No module" in seen.stderr:
                return python
    pytest.skip("every Python of this machine has Strata's packages")


def test_the_systems_python_will_do(tmp_path):
    if not (BASE_DIR / ".venv" / "bin" / "python").exists():
        pytest.skip("this checkout has no environment of its own")
    process = start("version", var=tmp_path, python=outside_python())
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("5.")


def test_without_an_environment_it_says_what_to_do(tmp_path):
    shutil.copy(BASE_DIR / "manage.py", tmp_path)
    done = subprocess.run(
        [outside_python(), str(tmp_path / "manage.py"), "version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "strata: its Python packages are not installed, run bin/setup first\n"
