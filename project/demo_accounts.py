"""The demo's three people, one for each role."""

import os
import secrets
import string
from dataclasses import dataclass
from pathlib import Path

from chains.models import Role, User

LETTERS = "".join(set(string.ascii_lowercase + string.digits) - set("01ilo"))
LENGTH = 14


@dataclass(frozen=True)
class Login:
    """A name with its password, empty when it is no longer the one that the demo gave."""

    name: str
    password: str


def ensure_accounts(path: Path) -> list[Login]:
    """The log-ins, made where they are missing; the passwords are kept in this file (0600).

    A password that somebody has changed stays as it is, and so does a user of the same name that
    was there before the demo.
    """
    known = _read(path)
    logins = []
    for role in (Role.ADMIN, Role.OPERATOR, Role.AUDITOR):
        name = role.value
        user = User.objects.filter(username=name).first()
        if user is None:
            known.setdefault(name, "".join(secrets.choice(LETTERS) for _ in range(LENGTH)))
            _write(path, known)
            is_admin = role == Role.ADMIN
            user = User(username=name, role=role, is_staff=is_admin, is_superuser=is_admin)
            user.set_password(known[name])
            user.save()
        valid = name in known and user.check_password(known[name])
        logins.append(Login(name, known[name] if valid else ""))
    return logins


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _write(path: Path, passwords: dict[str, str]) -> None:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.writelines(f"{name} {password}\n" for name, password in passwords.items())
    draft.rename(path)
