"""How often: buckets that fill with time."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_ADDRESSES = 4096


class Bucket:
    """Holds `size` at most and gains `rate` a second. What is taken beyond that is owed."""

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = rate, size, clock
        self._level, self._at = size, clock()

    def take(self, amount: float = 1.0) -> float:
        """Take it, and tell the seconds after which it will have been earned: 0 if it was there."""
        self._fill()
        self._level -= amount
        return max(0.0, -self._level / self._rate)

    def take_if_there(self, amount: float = 1.0) -> float:
        """Take it if it is there; else leave it, and tell the seconds after which it will be."""
        self._fill()
        missing = amount - self._level
        if missing > 0:
            return missing / self._rate
        self._level -= amount
        return 0.0

    def _fill(self) -> None:
        now = self._clock()
        self._level, self._at = min(self._size, self._level + (now - self._at) * self._rate), now


class AddressRates:
    """Requests of each address: `a_minute` at once, and as many in every further minute."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_minute, self._clock = a_minute, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait(self, address: str) -> float:
        """Count a request. Seconds after which it would be welcome; 0: now."""
        who = _household(address)
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = Bucket(self._a_minute / 60, self._a_minute, self._clock)
        self._buckets.move_to_end(who)
        while len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket.take_if_there()


def _household(address: str) -> str:
    """An address, of IPv6 the part that one customer has all of."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False)) if parsed.version == 6 else address
