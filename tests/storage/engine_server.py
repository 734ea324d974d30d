"""A small engine: answers a few requests with XML like that of the real one, and keeps what was asked."""

import json
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape, quoteattr

DOMAIN = "11111111-0000-4000-8000-000000000001"
TOKEN = "a-token"
FAULT = "<fault><reason>Operation Failed</reason><detail>{}</detail></fault>"


@dataclass
class Volume:
    image: str
    uuid: str
    snapshot: str
    active: bool = False
    status: str = "ok"


@dataclass
class World:
    """What the engine knows. `asked` are (method, path, query) of every request."""

    disks: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # alias, status, active
    volumes: list[Volume] = field(default_factory=list)
    vms: dict[str, tuple[str, list[str]]] = field(default_factory=dict)  # name, disks
    snapshots: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)  # by VM
    password: str = "secret"
    old: bool = False  # knows neither include_active nor include_template
    broken: dict[str, tuple[int, str, str]] = field(default_factory=dict)  # path: answer
    slow: str = ""  # the path that takes very long
    asked: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)  # that were given back


def disks_xml(world):
    rows = "".join(
        f'<disk href="/ovirt-engine/api/disks/{key}" id="{key}"><name>{escape(alias)}</name>'
        f"<alias>{escape(alias)}</alias><image_id>{active}</image_id><format>cow</format>"
        f"<provisioned_size>1073741824</provisioned_size><status>{status}</status>"
        f"<storage_type>image</storage_type><sparse>true</sparse></disk>"
        for key, (alias, status, active) in world.disks.items()
    )
    return f"<disks>{rows}</disks>"


def disk_snapshots_xml(world, query):
    wanted = query.get("include_active") == ["true"] and not world.old
    rows = "".join(
        f'<disk_snapshot href="/ovirt-engine/api/storagedomains/{DOMAIN}/disksnapshots/{item.uuid}"'
        f' id="{item.uuid}"><description>of the disk</description>'
        f"<active>{str(item.active).lower()}</active><format>cow</format>"
        f"<image_id>{item.uuid}</image_id><status>{item.status}</status>"
        f'<disk id="{item.image}"/><snapshot id="{item.snapshot}"/></disk_snapshot>'
        for item in world.volumes
        if wanted or not item.active
    )
    return f"<disk_snapshots>{rows}</disk_snapshots>"


def vms_xml(world, query):
    page = int(query["search"][0].rpartition(" ")[2]) - 1
    size = int(query["max"][0])
    rows = ""
    for key, (name, disks) in list(world.vms.items())[page * size : (page + 1) * size]:
        attached = "".join(
            f'<disk_attachment id="{disk}"><active>true</active><disk id="{disk}"/></disk_attachment>'
            for disk in disks
        )
        frozen = "".join(
            f'<snapshot id="{uuid}"><date>{date}</date><description>{escape(words)}</description>'
            f"<snapshot_type>regular</snapshot_type></snapshot>"
            for uuid, words, date in world.snapshots.get(key, ())
        )
        rows += (
            f"<vm id={quoteattr(key)}><name>{escape(name)}</name>"
            f"<disk_attachments>{attached}</disk_attachments><snapshots>{frozen}</snapshots></vm>"
        )
    return f"<vms>{rows}</vms>"


class Handler(BaseHTTPRequestHandler):
    world: World

    def log_message(self, *_):
        pass

    def answer(self, code, kind, text):
        data = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(data)

    def begin(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        self.world.asked.append((self.command, url.path, query))
        if self.world.slow and url.path.endswith(self.world.slow):
            time.sleep(20)
        for path, answer in self.world.broken.items():
            if url.path.endswith(path):
                self.answer(*answer)
                return None
        return url.path, query

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if not (asked := self.begin()):
            return
        if asked[0] == "/ovirt-engine/services/sso-logout":
            self.world.tokens += form["token"]
            self.answer(200, "application/json", "{}")
        elif form.get("password") == [self.world.password] and form["scope"] == ["ovirt-app-api"]:
            self.answer(200, "application/json", json.dumps({"access_token": TOKEN, "exp": "1"}))
        else:
            refusal = {"error": "Cannot authenticate user", "error_code": "access_denied"}
            self.answer(401, "application/json", json.dumps(refusal))

    def do_GET(self):
        if not (asked := self.begin()):
            return
        path, query = asked
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, "application/xml", FAULT.format("no token"))
            return
        base = f"/ovirt-engine/api/storagedomains/{DOMAIN}"
        text = {
            base: lambda: f'<storage_domain id="{DOMAIN}"><name>data</name></storage_domain>',
            f"{base}/disks": lambda: disks_xml(self.world),
            f"{base}/disksnapshots": lambda: disk_snapshots_xml(self.world, query),
            "/ovirt-engine/api/vms": lambda: vms_xml(self.world, query),
        }.get(path)
        if text is None:
            self.answer(404, "application/xml", FAULT.format("Entity not found"))
        else:
            self.answer(200, "application/xml;charset=UTF-8", text())


@contextmanager
def engine_of(world, certificate=None):
    """The address of a running engine; over TLS when `certificate` names a file with one and its key."""
    handler = type("OneHandler", (Handler,), {"world": world})
    server = ThreadingHTTPServer(("localhost", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        scheme = "https" if certificate else "http"
        yield f"{scheme}://localhost:{server.server_port}/ovirt-engine/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
