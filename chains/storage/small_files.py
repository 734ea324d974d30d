"""Small text files of other programs: read with a limit, and never taken for more than they are."""

import errno
import os
import stat

from chains.core.errors import StrataError
from chains.core.names import brief


def read_small(path: str, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; follows no link in the last place.

    Raises OSError, and StrataError when it is too large or no regular file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StrataError(f"{brief(path)} is no regular file.")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise StrataError(f"{brief(path)} is larger than the {limit:,} bytes that such a file has.")
    return data


def names_in(folder: str, suffix: str, limit: int) -> list[str]:
    """The names in `folder` that end in `suffix`, sorted. Raises OSError, also for more than `limit`."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                found.append(entry.name)
                if len(found) > limit:
                    raise OSError(errno.E2BIG, f"it holds more than {limit:,} such files", folder)
    return sorted(found)
