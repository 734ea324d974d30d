"""Who made a tree of images: one module a profile, and its line in the list below."""

from collections.abc import Sequence

from chains.core.errors import StrataError
from chains.core.names import brief
from chains.storage.profiles import libvirt, nova, plain, proxmox
from chains.storage.profiles.types import Named, Options, Profile, Tree

AUTO = "auto"
# The first of those that are equally sure wins.
PROFILES: tuple[Profile, ...] = (
    plain.Plain(),
    libvirt.Libvirt(),
    proxmox.Proxmox(),
    nova.Nova(),
)
# An option that was set says more than names that could be anybody's.
ASKED = 0.3

__all__ = ["ASKED", "AUTO", "PROFILES", "Named", "Options", "Profile", "Tree", "detect", "named"]


def named(name: str) -> Profile:
    """The profile that is called so. Raises StrataError."""
    for profile in PROFILES:
        if profile.name == name:
            return profile
    known = ", ".join([AUTO, *(profile.name for profile in PROFILES)])
    raise StrataError(f"There is no profile “{brief(name)}”: choose one of {known}.")


def detect(paths: Sequence[str], root: str = "", options: Options = Options()) -> Profile:  # noqa: B008 - it is frozen
    """The profile that is the surest of a tree, by the names of its files alone."""

    def sureness(profile: Profile) -> float:
        asked = ASKED if profile.is_asked(options) else 0.0
        return max(profile.sureness(paths, root), asked)

    return max(PROFILES, key=sureness)
