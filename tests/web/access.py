"""The table of who may do what at which address. Statuses stand for anonymous, auditor, operator, admin."""

from dataclasses import dataclass
from typing import Any

Status = int | frozenset[int]
DENIED = frozenset({401, 403})
REFUSED = frozenset({401, 403, 405})
READS = frozenset({200, 409})
ANY = frozenset({200, 302, 400, 401, 403, 404, 405})
WRITERS = frozenset({"operator", "admin"})


@dataclass(frozen=True)
class Address:
    """One route. `changes`: a POST by one of `changers` changes rows, nobody else's does."""

    form: str
    get: tuple[Status, ...]
    post: tuple[Status, ...]
    data: tuple[str, ...] = ()
    changes: bool = False
    changers: frozenset[str] = WRITERS
    other: tuple[Status, ...] = (frozenset({302}), REFUSED, REFUSED, REFUSED)
    head: tuple[Status, ...] | None = None
    options: tuple[Status, ...] | None = None
    public: bool = False
    drops_session: bool = False
    without_csrf: frozenset[int] = frozenset()

    def url(self, world: dict[str, Any]) -> str:
        return self.form.format_map(world)

    def body(self, world: dict[str, Any]) -> dict[str, Any]:
        names = (pair.partition("=")[::2] for pair in self.data)
        return {name: world[value] for name, value in names}

    def wanted(self, method: str) -> tuple[Status, ...]:
        if method == "HEAD":
            return self.head or self.get
        if method == "OPTIONS":
            return self.options or self.other
        return {"GET": self.get, "POST": self.post}.get(method, self.other)


def page(form: str) -> Address:
    """A page to look at; nobody posts to it."""
    return Address(form, (302, 200, 200, 200), (302, 405, 405, 405))


def action(form: str, *data: str) -> Address:
    """A button of operators; nobody looks at it."""
    return Address(form, (302, 405, 405, 405), (302, 403, 302, 302), data, changes=True)


def managing(form: str, *data: str) -> Address:
    """A button of admins; nobody looks at it."""
    posted = (302, 403, 403, 302)
    admins = frozenset({"admin"})
    return Address(form, (302, 405, 405, 405), posted, data, changes=True, changers=admins)


_API = {"other": (DENIED, REFUSED, REFUSED, REFUSED), "options": (DENIED, 200, 200, 200)}


def resource(form: str) -> Address:
    """A resource to read."""
    return Address(form, (DENIED, 200, 200, 200), (DENIED, REFUSED, REFUSED, REFUSED), **_API)  # type: ignore[arg-type]


def call(form: str, answer: int, *data: str, get: int = 405) -> Address:
    """A call of operators."""
    seen = (DENIED, get, get, get)
    return Address(
        form,
        seen,
        (DENIED, 403, answer, answer),
        data,
        changes=True,
        head=seen,
        **_API,  # type: ignore[arg-type]
    )


def setting(form: str, *data: str, get: int = 405) -> Address:
    """A call of admins."""
    seen, posted = (DENIED, get, get, get), (DENIED, 403, 403, 200)
    return Address(
        form, seen, posted, data, changes=True, changers=frozenset({"admin"}), head=seen,
        **_API,  # type: ignore[arg-type]
    )  # fmt: skip


def admin(
    form: str, get: Status, post: Status, *data: str, changes: bool = False, csrf: int | None = None
) -> Address:
    """A page of Django's admin: the others are sent to sign in as somebody else."""
    get_all, post_all = (302, 302, 302, get), (302, 302, 302, post)
    anything = (302, 302, 302, ANY)
    return Address(
        form, get_all, post_all, data, changes, frozenset({"admin"}), anything, get_all, anything,
        without_csrf=frozenset({302} if csrf is None else {302, csrf}),
    )  # fmt: skip


def model(
    name: str, *, add: Status = 200, change: Status = 200, delete: Status = 200
) -> dict[str, Address]:
    """The admin's routes of one model, with the first row that there is."""
    start = f"admin/{name}/"
    row = "/" + start + "{" + name.split("/")[1] + "}/"
    return {
        start: admin("/" + start, 200, frozenset({200, 302, 403})),
        f"{start}add/": admin(f"/{start}add/", add, add),
        f"{start}<path:object_id>/history/": admin(f"{row}history/", 200, 200),
        f"{start}<path:object_id>/delete/": admin(
            f"{row}delete/",
            delete,
            302 if delete == 200 else delete,
            "post=yes",
            changes=delete == 200,
        ),
        f"{start}<path:object_id>/change/": admin(f"{row}change/", 200, change),
        f"{start}<path:object_id>/": admin(row, 302, 302),
    }


EVERYBODY_OTHER = (ANY, ANY, ANY, ANY)
ADDRESSES: dict[str, Address] = {
    "login/": Address(
        "/login/", (200, 302, 302, 302), (200, 302, 302, 302), public=True, other=EVERYBODY_OTHER,
        without_csrf=frozenset({302}),
    ),
    "logout/": Address(
        "/logout/", (302, 405, 405, 405), (302, 302, 302, 302), public=True, drops_session=True,
        other=EVERYBODY_OTHER,
    ),
    "": page("/"),
    "domains/": page("/domains/"),
    "domains/<int:pk>/": page("/domains/{domain}/"),
    "domains/<int:pk>/forest/": page("/domains/{domain}/forest/"),
    **{f"domains/<int:pk>/forest.{kind}": page(f"/domains/{{domain}}/forest.{kind}") for kind in ("svg", "png", "dot")},
    "domains/<int:pk>/scan/": action("/domains/{domain}/scan/"),
    "domains/<int:pk>/policy/": Address(
        "/domains/{domain}/policy/", (302, 405, 405, 405), (302, 403, 403, 302), ("keep=day",),
        changes=True, changers=frozenset({"admin"}),
    ),
    "domains/<int:pk>/pause/": action("/domains/{domain}/pause/", "paused=one"),
    "thresholds/": Address(
        "/thresholds/", (302, 200, 200, 200), (302, 403, 403, 302), ("depth=one",),
        changes=True, changers=frozenset({"admin"}),
    ),
    "domains/<int:pk>/thresholds/": managing("/domains/{domain}/thresholds/", "depth=one"),
    "domains/<int:pk>/schedule/": managing("/domains/{domain}/schedule/", "scan_every=day"),
    "domains/<int:pk>/history/": page("/domains/{domain}/history/?as_of=2099-01-01"),
    "domains/<int:pk>/batch/": Address(
        "/domains/{domain}/batch/?all=1&scope=whole", (302, 200, 200, 200), (302, 403, 302, 302),
        ("confirmed=batch_confirmed",), changes=True,
    ),
    "batches/<int:pk>/": page("/batches/{batch}/"),
    "batches/<int:pk>/cancel/": action("/batches/{batch}/cancel/"),
    "domains/<int:pk>/volumes/": page("/domains/{domain}/volumes/"),
    "findings/": page("/findings/"),
    "findings/<int:pk>/": page("/findings/{finding}/"),
    "findings/<int:pk>/acknowledge/": action(
        "/findings/{finding}/acknowledge/", "reason=whole", "until=next_year"
    ),
    "findings/<int:pk>/reopen/": action("/findings/{finding}/reopen/"),
    "volumes/<int:pk>/": page("/volumes/{volume}/"),
    "volumes/<int:pk>/check/": action("/volumes/{volume}/check/"),
    "scans/<int:pk>/cancel/": action("/scans/{scan}/cancel/"),
    "disks/<int:pk>/": page("/disks/{disk}/"),
    **{f"merges/<int:pk>/chains.{kind}": page(f"/merges/{{merge}}/chains.{kind}") for kind in ("svg", "png", "dot")},
    **{f"disks/<int:pk>/merge/chains.{kind}": page(f"/disks/{{free_disk}}/merge/chains.{kind}") for kind in ("svg", "png", "dot")},
    **{f"disks/<int:pk>/reads.{kind}": page(f"/disks/{{disk}}/reads.{kind}") for kind in ("svg", "png", "dot")},
    "disks/<int:pk>/chain/": page("/disks/{disk}/chain/"),
    **{f"disks/<int:pk>/chain.{kind}": page(f"/disks/{{disk}}/chain.{kind}") for kind in ("svg", "png", "dot")},
    "disks/<int:pk>/merge/": Address(
        "/disks/{free_disk}/merge/", (302, 200, 200, 200), (302, 403, 302, 302),
        ("base=free_base", "top=free_top", "plan=digest"), changes=True,
    ),
    "merges/<int:pk>/": page("/merges/{merge}/"),
    "merges/<int:pk>/cancel/": action("/merges/{merge}/cancel/"),
    "merges/<int:pk>/resume/": action("/merges/{stuck}/resume/"),
    "merges/<int:pk>/undo/": action("/merges/{kept}/undo/"),
    "merges/<int:pk>/purge/": action("/merges/{kept}/purge/"),
    "sprawl/": page("/sprawl/"),
    "activity/": page("/activity/"),
    "words/<slug:language>/<slug:version>.js": Address(
        "/words/ru/now.js", (200, 200, 200, 200), (405, 405, 405, 405), public=True,
        other=EVERYBODY_OTHER,
    ),
    "i18n/setlang/": Address(
        "/i18n/setlang/", (302, 302, 302, 302), (302, 302, 302, 302), public=True,
        other=EVERYBODY_OTHER,
    ),
    "audit/": page("/audit/"),
    "audit/<int:pk>/": page("/audit/{auditrecord}/"),
    "glossary/": page("/glossary/"),
    "lesson/": page("/lesson/"),
    "lesson/run/": action("/lesson/run/", "step=one"),
    "lesson/over/": action("/lesson/over/"),
    "api/v1/schema/": resource("/api/v1/schema/"),
    "api/v1/domains/": resource("/api/v1/domains/"),
    "api/v1/domains/<int:pk>/": resource("/api/v1/domains/{domain}/"),
    "api/v1/domains/<int:pk>/scan/": call("/api/v1/domains/{domain}/scan/", 202),
    "api/v1/domains/<int:pk>/history/": resource("/api/v1/domains/{domain}/history/"),
    "api/v1/domains/<int:pk>/thresholds/": setting(
        "/api/v1/domains/{domain}/thresholds/", "depth=number", get=200
    ),
    "api/v1/domains/<int:pk>/schedule/": setting(
        "/api/v1/domains/{domain}/schedule/", "scan_seconds=seconds"
    ),
    "api/v1/thresholds/": setting("/api/v1/thresholds/", "depth=number", get=200),
    "api/v1/domains/<int:pk>/policy/": Address(
        "/api/v1/domains/{domain}/policy/", (DENIED, 405, 405, 405), (DENIED, 403, 403, 200),
        changes=True, changers=frozenset({"admin"}), head=(DENIED, 405, 405, 405),
        **_API,  # type: ignore[arg-type]
    ),
    "api/v1/domains/<int:pk>/pause/": call("/api/v1/domains/{domain}/pause/", 200),
    "api/v1/domains/<int:pk>/resume/": call("/api/v1/domains/{domain}/resume/", 200),
    "api/v1/disks/": resource("/api/v1/disks/"),
    "api/v1/disks/<int:pk>/": resource("/api/v1/disks/{disk}/"),
    "api/v1/disks/<int:pk>/reads/": Address(
        "/api/v1/disks/{disk}/reads/", (DENIED, READS, READS, READS),
        (DENIED, REFUSED, REFUSED, REFUSED), **_API,  # type: ignore[arg-type]
    ),
    "api/v1/volumes/": resource("/api/v1/volumes/"),
    "api/v1/volumes/<int:pk>/": resource("/api/v1/volumes/{volume}/"),
    "api/v1/volumes/<int:pk>/check/": call("/api/v1/volumes/{volume}/check/", 202, get=200),
    "api/v1/scans/<int:pk>/": resource("/api/v1/scans/{scan}/"),
    "api/v1/scans/<int:pk>/cancel/": call("/api/v1/scans/{scan}/cancel/", 202),
    "api/v1/findings/": resource("/api/v1/findings/"),
    "api/v1/findings/<int:pk>/acknowledge/": call(
        "/api/v1/findings/{finding}/acknowledge/", 200, "reason=whole", "until=next_year"
    ),
    "api/v1/findings/<int:pk>/reopen/": call("/api/v1/findings/{finding}/reopen/", 200),
    "api/v1/merges/": call("/api/v1/merges/", 201, "base=free_base", "top=free_top", get=200),
    "api/v1/merges/plan/": Address(
        "/api/v1/merges/plan/", (DENIED, 405, 405, 405), (DENIED, 200, 200, 200),
        ("base=free_base", "top=free_top"), head=(DENIED, 405, 405, 405),
        **_API,  # type: ignore[arg-type]
    ),
    "api/v1/merges/<int:pk>/undo/": call("/api/v1/merges/{kept}/undo/", 201),
    "api/v1/merges/<int:pk>/purge/": call("/api/v1/merges/{kept}/purge/", 202),
    "api/v1/merges/<int:pk>/": resource("/api/v1/merges/{merge}/"),
    "api/v1/merges/<int:pk>/live/": resource("/api/v1/merges/{merge}/live/"),
    "api/v1/merges/<int:pk>/cancel/": call("/api/v1/merges/{merge}/cancel/", 202),
    "api/v1/merges/<int:pk>/resume/": call("/api/v1/merges/{stuck}/resume/", 202),
    "api/v1/batches/": call(
        "/api/v1/batches/", 201, "domain=domain", "all=yes", "scope=whole", get=200
    ),
    "api/v1/batches/plan/": Address(
        "/api/v1/batches/plan/", (DENIED, 405, 405, 405), (DENIED, 200, 200, 200),
        ("domain=domain", "all=yes", "scope=whole"), head=(DENIED, 405, 405, 405),
        **_API,  # type: ignore[arg-type]
    ),
    "api/v1/batches/<int:pk>/": resource("/api/v1/batches/{batch}/"),
    "api/v1/batches/<int:pk>/cancel/": call("/api/v1/batches/{batch}/cancel/", 202),
    "api/v1/audit/": resource("/api/v1/audit/"),
    "api/v1/audit/head/": resource("/api/v1/audit/head/"),
    "api/v1/sprawl/": resource("/api/v1/sprawl/"),
    "api/v1/activity/": resource("/api/v1/activity/"),
    "api/v1/lesson/": resource("/api/v1/lesson/"),
    "admin/": admin("/admin/", 200, 200),
    "admin/login/": Address(
        "/admin/login/", (200, 200, 200, 302), (200, 200, 200, ANY), public=True, other=EVERYBODY_OTHER,
        head=EVERYBODY_OTHER,
    ),
    "admin/logout/": Address(
        "/admin/logout/", (302, 302, 302, 405), (302, 302, 302, 302), public=True,
        drops_session=True, other=EVERYBODY_OTHER,
    ),
    "admin/password_change/": admin("/admin/password_change/", 200, 200),
    "admin/password_change/done/": admin("/admin/password_change/done/", 200, 405),
    "admin/autocomplete/": admin("/admin/autocomplete/", 403, 405),
    "admin/jsi18n/": admin("/admin/jsi18n/", 200, 405),
    "admin/r/<path:content_type_id>/<path:object_id>/": admin("/admin/r/1/1/", 404, 404),
    "admin/chains/user/<id>/password/": admin("/admin/chains/user/{user}/password/", 200, 200),
    "admin/^(?P<app_label>procrastinate|authtoken|chains)/$": admin("/admin/chains/", 200, 200),
    "admin/(?P<url>.*)$": admin("/admin/nothing/here/", 404, 404),
    **model("procrastinate/procrastinatejob", add=403, change=403, delete=403),
    **model("authtoken/tokenproxy"),
    **model("chains/user"),
    # Its merge is unfinished: the domain is not deleted under it.
    **model("chains/storagedomain", add=403, delete=403),
    **model("chains/auditrecord", add=403, change=403, delete=403),
}  # fmt: skip
