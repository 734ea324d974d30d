"""The families of many volumes at once, in as many queries as one of them costs."""

from collections.abc import Iterable

from chains.models import Volume

_FAMILIES = """
WITH RECURSIVE down(id, backing_id) AS (
    SELECT id, backing_id FROM chains_volume WHERE id = ANY(%s)
  UNION
    SELECT v.id, v.backing_id FROM chains_volume v JOIN down d ON v.id = d.backing_id
), family(id) AS (
    SELECT id FROM down
  UNION
    SELECT v.id FROM chains_volume v JOIN family f ON v.backing_id = f.id
)
SELECT v.* FROM chains_volume v JOIN family f ON f.id = v.id ORDER BY v.id
"""


class Families:
    """Every volume that shares a root with one of those asked for, and who lies over whom."""

    def __init__(self, volumes: Iterable[int]) -> None:
        """Read them, by the ids of the volumes asked for."""
        self.by_pk = {row.pk: row for row in Volume.objects.raw(_FAMILIES, [list(volumes)])}
        self._overlays: dict[int, list[int]] = {}
        for row in self.by_pk.values():
            if row.backing_id is not None:
                self._overlays.setdefault(row.backing_id, []).append(row.pk)
        self._members: dict[int, list[Volume]] = {}

    def chain(self, pk: int) -> list[Volume]:
        """The volume and everything below it, top first; a loop is cut where it closes."""
        found: dict[int, Volume] = {}
        place: int | None = pk
        while place is not None and place not in found and place in self.by_pk:
            found[place] = self.by_pk[place]
            place = found[place].backing_id
        return list(found.values())

    def overlay_count(self, volume: Volume) -> int:
        """How many volumes have this one as their backing file."""
        return len(self._overlays.get(volume.pk, ()))

    def family(self, volume: Volume) -> list[Volume]:
        """All volumes that share a root with this one."""
        root = self.chain(volume.pk)[-1].pk
        if root not in self._members:
            self._members[root] = self._above(root)
        return self._members[root]

    def leaves_above(self, volume: Volume) -> list[Volume]:
        """The active layers that read through this volume, itself when it is one."""
        return [row for row in self._above(volume.pk) if row.pk not in self._overlays]

    def _above(self, pk: int) -> list[Volume]:
        seen, queue = {pk}, [pk]
        for place in queue:
            fresh = [over for over in self._overlays.get(place, ()) if over not in seen]
            seen.update(fresh)
            queue += fresh
        return [self.by_pk[place] for place in sorted(seen)]
