"""A bound on what is under way at once."""

from __future__ import annotations

import asyncio


class Room:
    """Lets things in while they are few and small enough together; one alone may be of any size."""

    def __init__(self, size: int, count: int) -> None:
        self._most_size = size
        self._most_count = count
        self._size = 0
        self._count = 0
        self._changed = asyncio.Condition()

    async def enter(self, size: int) -> None:
        """Waits until there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(size))
            self._size += size
            self._count += 1

    async def leave(self, size: int) -> None:
        async with self._changed:
            self._size -= size
            self._count -= 1
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        fits = self._size + size <= self._most_size and self._count < self._most_count
        return fits or not self._count
