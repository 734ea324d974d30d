"""Run a worker: it takes the jobs of one storage host until it is stopped."""

import argparse
import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector

from chains import tasks


class Command(BaseCommand):
    """manage.py run_worker [--storage-host NAME] [--concurrency N]."""

    help = "Scan, read and merge for one storage host."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Whose jobs, and how many at once."""
        parser.add_argument("--storage-host", default=settings.STORAGE_HOST)
        parser.add_argument("--concurrency", type=int, default=4, help="jobs at once (default 4)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work until a signal comes."""
        connector = app.connector
        assert isinstance(connector, DjangoConnector)
        self.stdout.write(f"worker of {options['storage_host']}: ready")
        with app.replace_connector(connector.get_worker_connector()):
            asyncio.run(
                tasks.work(options["storage_host"], concurrency=max(1, options["concurrency"]))
            )
