"""Runs the web process."""

from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chains.management.commands.demo import port_number
from project.demo import check_address

STOP_SECONDS = 3


class Command(BaseCommand):
    """One web process; behind a load balancer there may be several."""

    help = "Run the web process: pages, REST API and websockets."

    def add_arguments(self, parser: CommandParser) -> None:
        """--host, --port, --access-log."""
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
        parser.add_argument("--port", type=port_number, default=8000)
        parser.add_argument("--access-log", action="store_true", help="a line for each request")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Serves until SIGTERM or Ctrl-C."""
        check_address(options["host"], options["port"])
        config = uvicorn.Config(
            "project.asgi:application",
            host=options["host"],
            port=options["port"],
            ws="auto",
            # Without the TLS proxy anybody could claim to come from anywhere.
            proxy_headers=settings.HTTPS,
            access_log=options["access_log"],
            log_level="info" if options["access_log"] else "warning",
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        server = uvicorn.Server(config)
        server.run()
        if not server.started:
            raise CommandError(f"can not listen on {options['host']} port {options['port']}")
