"""The name under which this version's static files are served: a new version, a new address.

So a browser may keep each file for good and never asks again, and yet never mixes two versions: ES
modules import one another by relative addresses, which lie below the same name.
"""

import hashlib
from pathlib import Path

import django
import rest_framework


def version(directory: Path) -> str:
    """A short digest of all files below `directory`, and of the packages that bring static files too."""
    found = hashlib.sha256(f"{django.__version__} {rest_framework.__version__}".encode())
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            found.update(f"\0{path.relative_to(directory)}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:12]
