"""Asking oVirt's engine what it knows of a storage domain. It is only read."""

import importlib
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from types import ModuleType
from typing import Any, NamedTuple

from chains.core.engine_rules import EngineDisk, EngineFacts, EngineVolume
from chains.core.errors import StrataError
from chains.core.names import brief
from chains.storage.patience import within

PAGE = 100  # VMs in one request, which takes the engine a moment each
MOST_PAGES = 1000
ANSWER = 30  # seconds for one request
PATIENCE = 600.0  # seconds for all of them
MAX_TOKEN = 64 * 1024  # bytes
SCOPE = "ovirt-app-api"


class _Snapshot(NamedTuple):
    description: str
    date: float | None


class Engine:
    """A connection to be made to an engine, with a user who may see everything."""

    def __init__(  # noqa: PLR0917 - the parts of a connection, in the order in which they are known
        self, url: str, username: str, password: str, ca_file: str = "", insecure: bool = False,
        answer: int = ANSWER,
    ) -> None:  # fmt: skip
        """`url` is like https://engine.example.com/ovirt-engine/api, `username` like admin@internal.

        `ca_file` holds the CA's certificate (else the system's are used); `insecure` checks none, and
        allows http. `answer` is how many seconds one request may take. Raises StrataError for an
        address that is none, and when the engine's client is not installed.
        """
        schemes = ("https", "http") if insecure else ("https",)
        try:
            parts = urllib.parse.urlsplit(url)
            is_address = parts.scheme in schemes and parts.hostname and "@" not in parts.netloc
            _ = parts.port
        except ValueError:
            is_address = False
        if not is_address:
            raise StrataError(
                f"“{brief(url)}” is no address of an engine: give one like"
                " https://engine.example.com/ovirt-engine/api."
            )
        self._url = url.rstrip("/")
        self._sso = f"{parts.scheme}://{parts.netloc}/ovirt-engine"
        self._name = f"The engine at {brief(self._sso)}"
        self._username = username
        self._password = password
        self._ca_file = ca_file
        self._insecure = insecure
        self._answer = answer
        self._sdk = _client()

    def facts(self, domain: str, alive: Callable[[], None] = lambda: None) -> EngineFacts:
        """What the engine knows of the storage domain with this uuid; `alive` is called meanwhile.

        Raises StrataError: the engine can not be asked, refuses, or has no such domain.
        """
        # (What `alive` raises is not the engine's, and stays as it is.)
        return within(PATIENCE, self._name, lambda: self._facts(domain), alive)

    def _facts(self, domain: str) -> EngineFacts:
        token = self._sign_in()
        try:
            return self._ask(token, domain)
        except self._sdk.NotFoundError as error:
            raise StrataError(f"{self._name} has no storage domain {brief(domain)}.") from error
        except (self._sdk.Error, OSError) as error:
            raise StrataError(f"{self._name} can not be asked: {brief(str(error), 400)}") from error
        except Exception as error:
            # Its client throws bare exceptions, and more, at an answer that it does not understand.
            detail = brief(str(error))
            raise StrataError(f"{self._name} gave an answer that is none: {detail}") from error
        finally:
            self._sign_out(token)

    def _ask(self, token: str, domain: str) -> EngineFacts:
        connection = self._sdk.Connection(
            url=self._url, username=self._username, password=self._password, token=token,
            ca_file=self._ca_file or None, insecure=self._insecure, timeout=self._answer,
        )  # fmt: skip
        try:
            return _read(connection.system_service(), domain)
        finally:
            connection.close(logout=False)

    def _sign_in(self) -> str:
        """A token; the client's own way of getting one knows no time limit."""
        answer = self._ask_sso("sso/oauth/token", {
            "grant_type": "password", "scope": SCOPE,
            "username": self._username, "password": self._password,
        })  # fmt: skip
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            why = answer.get("error_description") or answer.get("error") or "it gave no token"
            raise StrataError(
                f"The engine does not let {brief(self._username)} in: {brief(str(why))}"
            )
        return token

    def _sign_out(self, token: str) -> None:
        try:
            self._ask_sso("services/sso-logout", {"scope": SCOPE, "token": token})
        except StrataError:
            return  # the engine forgets it by itself in half an hour

    def _ask_sso(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - its scheme was looked at
            f"{self._sso}/{path}",
            urllib.parse.urlencode(form).encode("utf-8", "surrogateescape"),
            {"Accept": "application/json"},
        )
        opener = urllib.request.build_opener(
            _NoRedirect, urllib.request.HTTPSHandler(context=self._context())
        )
        try:
            with opener.open(request, timeout=self._answer) as response:
                data = response.read(MAX_TOKEN)
        except urllib.error.HTTPError as error:
            # A refusal has its reason in the body, as JSON.
            with error:
                data = error.read(MAX_TOKEN) if error.fp else b""
            if not data.lstrip().startswith((b"{", b"[")):
                raise StrataError(f"The engine's sign-in says {error.code}.") from error
        except (OSError, HTTPException) as error:
            raise StrataError(f"The engine's sign-in can not be reached: {error}.") from error
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise StrataError("The engine's sign-in gave no JSON: is the address right?") from error
        first = answer[0] if isinstance(answer, list) and answer else answer
        return first if isinstance(first, dict) else {}

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except (OSError, ValueError) as error:
            raise StrataError(f"{brief(self._ca_file)} holds no certificate: {error}.") from error
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Nobody else is to hear of the password."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _client() -> ModuleType:
    try:
        return importlib.import_module("ovirtsdk4")
    except ImportError as error:
        raise StrataError(
            "Asking an engine needs oVirt's client, which is not installed: install what"
            " requirements-ovirt.txt names."
        ) from error


def _read(system: Any, domain: str) -> EngineFacts:
    service = system.storage_domains_service().storage_domain_service(domain)
    service.get()  # a domain that does not exist would else be one without disks
    disks = service.disks_service().list()
    frozen = service.disk_snapshots_service().list(include_active=True, include_template=True)
    owners: dict[str, set[str]] = {}
    snapshots: dict[str, _Snapshot] = {}
    for vm in _machines(system.vms_service()):
        for attachment in vm.disk_attachments or ():
            disk = attachment.disk.id if attachment.disk else attachment.id
            owners.setdefault(disk, set()).add(vm.name or vm.id)
        for snapshot in vm.snapshots or ():
            date = snapshot.date.timestamp() if snapshot.date else None
            snapshots[snapshot.id] = _Snapshot(snapshot.description or "", date)
    volumes: dict[str, dict[str, EngineVolume]] = {}
    for item in frozen:
        image = item.disk.id if item.disk else None
        if image:
            volume = _volume(item, snapshots)
            volumes.setdefault(image, {})[volume.volume] = volume
    return EngineFacts(domain, {disk.id: _disk(disk, owners, volumes) for disk in disks})


def _machines(service: Any) -> Iterator[Any]:
    """Every VM with what hangs on it, a page at a time: the whole could take longer than one answer."""
    seen: set[str] = set()
    for page in range(1, MOST_PAGES + 1):
        search = f"sortby name asc page {page}"
        found = service.list(search=search, max=PAGE, follow="disk_attachments,snapshots")
        for vm in found:
            if vm.id not in seen:  # one that was renamed moves to another page
                seen.add(vm.id)
                yield vm
        if len(found) < PAGE:
            return


def _volume(item: Any, snapshots: dict[str, _Snapshot]) -> EngineVolume:
    snapshot = snapshots.get(item.snapshot.id) if item.snapshot else None
    return EngineVolume(
        item.image_id or item.id,
        snapshot.description if snapshot else "",
        snapshot.date if snapshot else None,
        item.status.value if item.status else "",
        bool(item.active),
    )


def _disk(
    disk: Any, owners: dict[str, set[str]], volumes: dict[str, dict[str, EngineVolume]]
) -> EngineDisk:
    known = dict(volumes.get(disk.id, {}))
    if disk.image_id:
        # Older engines do not tell the active volume among the snapshots.
        active = known.get(disk.image_id, EngineVolume(disk.image_id))
        known[disk.image_id] = active._replace(is_active=True)
    return EngineDisk(
        disk.id, disk.alias or disk.name or "", tuple(sorted(owners.get(disk.id, ()))),
        disk.status.value if disk.status else "", known,
    )  # fmt: skip
