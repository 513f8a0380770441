"""Who is this packet from? Open addressing from a sender's key to the call it belongs to.

A key is the port it arrived at with the sender's IPv4 address and port, or with the RTP source (SSRC); IPv6 addresses
are mixed into 48 bits. 0 is an empty cell.
"""

from typing import Any

from harness.media.hot.jit import compiled

# Above the 14 bits that an IPv4 key has for the port it arrived at.
_SSRC_KEY = 1 << 62
_IPV6_KEY = 3 << 61
_AF_INET = 2
_MIX = 0x9E3779B97F4A7C15 >> 2


@compiled
def ssrc_key(port: int, ssrc: int) -> int:
    """Return the key of an RTP source at one port."""
    return _SSRC_KEY | (port << 32) | ssrc


@compiled
def address_key(port: int, name: Any) -> int:
    """Return the key of a sender, from the sockaddr the kernel gave."""
    udp_port = (int(name[2]) << 8) | int(name[3])
    if name[0] == _AF_INET:
        host = (int(name[4]) << 24) | (int(name[5]) << 16) | (int(name[6]) << 8) | int(name[7])
        return ((port + 1) << 48) | (udp_port << 32) | host
    mixed = (port + 1) * 65536 + udp_port
    for i in range(8, 24):
        mixed = ((mixed * 257 + int(name[i])) ^ (mixed >> 23)) & 0xFFFFFFFFFFFF
    return _IPV6_KEY | mixed


@compiled
def _home(key: int, mask: int) -> int:
    folded = (key ^ (key >> 31)) & 0x7FFFFFFF
    return ((folded * 0x45D9F3B) >> 12) & mask


@compiled
def find_call(media: Any, key: int) -> int:
    """Return the call of `key`, -1 when there is none."""
    mask = len(media.keys) - 1
    at = _home(key, mask)
    while media.keys[at, 0] != 0:
        if media.keys[at, 0] == key:
            return int(media.keys[at, 1])
        at = (at + 1) & mask
    return -1


@compiled
def keep_call(media: Any, key: int, call: int) -> bool:
    """Enter a call; False when the key is another's."""
    mask = len(media.keys) - 1
    at = _home(key, mask)
    while media.keys[at, 0] != 0:
        if media.keys[at, 0] == key:
            return False
        at = (at + 1) & mask
    media.keys[at, 0] = key
    media.keys[at, 1] = call
    return True


@compiled
def forget_call(media: Any, key: int) -> None:
    """Take a key out and close the gap it leaves."""
    mask = len(media.keys) - 1
    at = _home(key, mask)
    while media.keys[at, 0] != key:
        if media.keys[at, 0] == 0:
            return
        at = (at + 1) & mask
    hole = at
    at = (at + 1) & mask
    while media.keys[at, 0] != 0:
        # An entry may move into the hole unless its home lies behind it.
        if ((at - _home(media.keys[at, 0], mask)) & mask) >= ((at - hole) & mask):
            media.keys[hole, 0] = media.keys[at, 0]
            media.keys[hole, 1] = media.keys[at, 1]
            hole = at
        at = (at + 1) & mask
    media.keys[hole, 0] = 0
