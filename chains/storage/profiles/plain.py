"""A directory of images that nobody in particular made."""

from collections.abc import Sequence

from chains.storage.profiles.types import Named, Options, Tree


class Plain:
    """Disks are called by their paths, and nobody is known to own them."""

    name = "plain"

    def sureness(self, paths: Sequence[str], root: str = "") -> float:
        """As much as any tree is one: who is less sure than this has not recognised it."""
        return 0.2

    def is_asked(self, options: Options) -> bool:
        """No option is only for this."""
        return False

    def notes(self, tree: Tree) -> Named:
        """Nothing beside the paths."""
        return Named({})
