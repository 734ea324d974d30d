"""Settings from environment variables: each is checked at start, and a bad one says what is wrong."""

import os
import re
import secrets
from collections.abc import Container, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

# One word on each side of the @, in ASCII and nothing that a mail's header gives a meaning to.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


class BadSetting(SystemExit):
    """An environment variable that can not be used; its text names the variable and what it takes.

    A `SystemExit`, so that every command ends with the one line and exit code 2, never a traceback.
    """

    def __init__(self, name: str, value: str, wants: str) -> None:
        super().__init__(2)
        self.message = f"strata: the setting {name}={value!r} can not be used: {wants}"

    def __str__(self) -> str:
        return self.message


def env_str(name: str, default: str) -> str:
    """The variable's text, or the default where it is unset or empty."""
    return os.environ.get(name, "") or default


def env_choice(name: str, default: str, choices: Container[str], wants: str) -> str:
    """One of the choices; raises BadSetting, saying what it wants."""
    value = env_str(name, default)
    if value not in choices:
        raise BadSetting(name, value, wants)
    return value


def env_bool(name: str, *, default: bool) -> bool:
    """Raises BadSetting for anything but 1/0, true/false, yes/no, on/off."""
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise BadSetting(name, value, "say 1 or 0")


def env_int(name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
    """A whole number from `least` to `most`; raises BadSetting."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if not value.isdecimal() or not least <= int(value) <= most:
        raise BadSetting(name, value, f"give a whole number from {least} to {most}")
    return int(value)


def env_list(name: str) -> list[str]:
    """The comma-separated parts, without the empty ones."""
    return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]


def env_some(name: str, choices: Sequence[str]) -> list[str]:
    """Some of the choices, all of them where it is unset; raises BadSetting."""
    given = env_list(name)
    for part in given:
        if part not in choices:
            raise BadSetting(name, part, "give some of " + ", ".join(choices))
    return given or list(choices)


def env_url(name: str) -> str:
    """An http or https address, or "" where it is unset; raises BadSetting."""
    value = os.environ.get(name, "").strip()
    if not value:
        return ""
    wants = "give an address like https://host/path, in ASCII, without a user name or a # part"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    # Not shown: the address of a receiver may hold its password.
    if not usable or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", value) or "#" in value:
        raise BadSetting(name, "…", wants)
    return value


def env_addresses(name: str) -> list[str]:
    """Mail addresses, comma-separated; raises BadSetting."""
    given = env_list(name)
    for address in given:
        if not _ADDRESS.fullmatch(address):
            raise BadSetting(name, address, "give addresses like ops@example.org, comma-separated")
    return given


def env_address(name: str, default: str) -> str:
    """One mail address; raises BadSetting."""
    given = env_addresses(name)
    if len(given) > 1:
        raise BadSetting(name, ",".join(given), "give one address")
    return given[0] if given else default


def env_secret(name: str, *, least: int, needed_by: str = "") -> str:
    """A secret, or ""; raises BadSetting when it is short, or not there and needed by a variable."""
    value = os.environ.get(name, "")
    if value and len(value) < least:
        raise BadSetting(name, "…", f"give at least {least} characters")
    if not value and needed_by and os.environ.get(needed_by, "").strip():
        raise BadSetting(name, "", f"{needed_by} needs it")
    return value


def database(url: str) -> dict[str, object]:
    """Django's DATABASES entry of a PostgreSQL address, in either of libpq's two forms.

    Raises BadSetting when libpq can not read it.
    """
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError as error:
        reason = str(error).strip().replace("\n", " ")
        raise BadSetting(
            "DATABASE_URL", "…", f"{reason}; give postgresql://user@host/name"
        ) from None
    known = {
        "host": "HOST",
        "port": "PORT",
        "user": "USER",
        "password": "PASSWORD",
        "dbname": "NAME",
    }
    entry: dict[str, object] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "strata",
        "CONN_MAX_AGE": 0,
        # After a restart of the server a connection of the pool is dead: it is asked before it is used.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 10, "timeout": 10}},
    }
    options = entry["OPTIONS"]
    assert isinstance(options, dict)
    for name, value in parts.items():
        if name in known:
            entry[known[name]] = str(value)
        else:
            options[name] = value
    return entry


def secret_key(var: Path) -> str:
    """The key that signs sessions: the variable's, or one generated into `var/` on first use."""
    if given := os.environ.get("STRATA_SECRET_KEY", ""):
        if len(given) < 32:
            raise BadSetting("STRATA_SECRET_KEY", "…", "give at least 32 characters")
        return given
    path = var / "secret_key"
    try:
        # Written aside and linked into place: two processes that start together agree on one key.
        if not path.exists():
            draft = var / f"secret_key.{os.getpid()}"
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(48))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text()
    except OSError as error:
        raise BadSetting(
            "STRATA_VAR", str(var), f"no secret key can be kept there ({error.strerror})"
        ) from None


def var_directory(base: Path) -> Path:
    """Where Strata keeps what it generates: database, secret key, demo domain."""
    var = Path(env_str("STRATA_VAR", str(base / "var"))).absolute()
    try:
        var.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting("STRATA_VAR", str(var), f"it can not be made ({error.strerror})") from None
    return var
