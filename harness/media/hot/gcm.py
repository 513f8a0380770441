"""SRTP's AEAD suites by a cipher that stays warm: RTP only (RFC 7714 over RFC 3711's packet index and replay list).

Each direction of a call has a row and its keys: a few cache lines, against the kilobytes of a cipher of its own. A
stream is bound to the SSRC of its first sound packet; others are left to libsrtp. tests/harness/media/test_hot_gcm.py
holds every rule against libsrtp.
"""

import weakref
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.media.hot import native
from harness.media.hot.big_endian import get16, get32
from harness.media.hot.jit import compiled, make_table, whole_lines
from harness.media.hot.prefetch import fetch_row
from harness.media.hot.seen import BITS, see, was_seen
from harness.media.hot.tables import bundle

# What gcm_open tells instead of a length.
FORGED, NOT_OURS = -1, -2
TAG_BYTES = 16
KEY_BYTES, SALT_BYTES = 32, 12
_SALT_AT = KEY_BYTES
_MATERIAL_BYTES = 64
_IV_BYTES = 12
# Packets back from the highest that are still taken, as far as the list of those seen goes (srtp.REPLAY_WINDOW).
WINDOW = 1024
# EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG.
_GET_TAG, _SET_TAG = 0x10, 0x11

STREAM = whole_lines(
    np.dtype(
        [
            # 128 or 256; 0 = libsrtp does it all.
            ("bits", "i8"),
            # -1 = none yet.
            ("ssrc", "i8"),
            # The highest packet index (RFC 3711 3.3.1), -1 = none yet.
            ("highest", "i8"),
            # Of the last WINDOW indices (seen.py).
            ("seen", "i8", (WINDOW // BITS,)),
        ]
    )
)

_STREAM_BYTES = STREAM.itemsize


@bundle
class Gcm(NamedTuple):
    """Two streams a call: row 2 i is what call i sends, row 2 i + 1 what it hears."""

    streams: Any
    # Key, padded to 32 bytes, then salt.
    material: npt.NDArray[np.uint8]
    # Addresses of OpenSSL's contexts: [0] seals with 128 bits, [1] opens; [2] and [3] with 256. 0 = not to be had.
    ciphers: npt.NDArray[np.int64]
    iv: npt.NDArray[np.uint8]
    # Where OpenSSL writes lengths that nobody needs.
    length: npt.NDArray[np.int32]
    # How many streams have a key: an engine of plain RTP has none, and nothing of all this to fetch.
    keyed: npt.NDArray[np.int64]


def new_gcm(calls: int) -> Gcm:
    """Return the tables for `calls` calls; without OpenSSL no stream can be started."""
    made = native.new_gcm_ciphers()
    ciphers = np.array(made, np.int64)
    weakref.finalize(ciphers, native.free_gcm_ciphers, made)
    return Gcm(
        make_table(STREAM, 2 * calls),
        np.zeros((2 * calls, _MATERIAL_BYTES), np.uint8),
        ciphers,
        np.zeros(16, np.uint8),
        np.zeros(4, np.int32),
        np.zeros(1, np.int64),
    )


def start_stream(gcm: Any, row: int, key: bytes, salt: bytes) -> None:
    """Begin a stream; called from Python, before the loop knows the call."""
    end_stream(gcm, row)
    stream = gcm.streams[row]
    stream.ssrc, stream.highest = -1, -1
    stream.seen[:] = 0
    bits = 8 * len(key)
    if gcm.ciphers[_cipher_index(bits, 0)] != 0:
        stream.bits = bits
        gcm.keyed[0] += 1
    material = gcm.material[row]
    material[: len(key)] = np.frombuffer(key, np.uint8)
    material[_SALT_AT : _SALT_AT + SALT_BYTES] = np.frombuffer(salt, np.uint8)


def end_stream(gcm: Any, row: int) -> None:
    """Leave all to libsrtp, and keep no key."""
    if gcm.streams[row].bits != 0:
        gcm.keyed[0] -= 1
    gcm.streams[row].bits = 0
    gcm.material[row] = 0


@compiled
def move_stream(gcm: Any, source: int, row: int) -> None:
    """Put a stream begun in row `source` into row `row`, and keep no key where it was."""
    gcm.streams[row].bits = gcm.streams[source].bits
    gcm.streams[row].ssrc = gcm.streams[source].ssrc
    gcm.streams[row].highest = gcm.streams[source].highest
    gcm.streams[source].bits = 0
    gcm.streams[row].seen[:] = 0
    for i in range(_MATERIAL_BYTES):
        gcm.material[row, i] = gcm.material[source, i]
        gcm.material[source, i] = 0


@compiled
def fetch_stream(gcm: Any, row: int) -> None:
    """Have fetched what gcm_seal or gcm_open will touch."""
    if gcm.keyed[0] == 0:
        return
    fetch_row(gcm.streams, _STREAM_BYTES, row, 0, 1)
    fetch_row(gcm.material, _MATERIAL_BYTES, row, 0, 1)


@compiled
def _cipher_index(bits: int, opens: int) -> int:
    return (2 if bits == 256 else 0) + opens


@compiled
def _index(stream: Any, sequence: int) -> int:
    """Return the packet index that a sequence number stands for: the nearest to the highest one; < 0 is none."""
    if stream.highest < 0:
        # Signed, as the other branch: numba unifies both kinds to a float.
        return int(np.int64(sequence))
    return int(stream.highest + ((sequence - stream.highest + 0x8000) & 0xFFFF) - 0x8000)


@compiled
def _begin(gcm: Any, row: int, opens: int, data: Any, index: int) -> int:
    """Give the cipher a packet's key and IV (RFC 7714 8.1); return the cipher."""
    material = gcm.material[row]
    iv = gcm.iv
    iv[0] = material[_SALT_AT]
    iv[1] = material[_SALT_AT + 1]
    for i in range(4):
        iv[2 + i] = material[_SALT_AT + 2 + i] ^ data[8 + i]
    for i in range(6):
        iv[6 + i] = int(material[_SALT_AT + 6 + i]) ^ ((index >> (8 * (5 - i))) & 0xFF)
    cipher = gcm.ciphers[_cipher_index(gcm.streams[row].bits, opens)]
    key = gcm.material.ctypes.data + _MATERIAL_BYTES * row
    native.evp_cipher_init(cipher, 0, 0, key, iv.ctypes.data, 1 - opens)
    return int(cipher)


@compiled
def gcm_seal(gcm: Any, row: int, data: Any, address: int, start: int, length: int) -> int:
    """Protect a packet in place, the header of which ends at `start`; return the new length, -1 when OpenSSL fails."""
    stream = gcm.streams[row]
    index = _index(stream, get16(data, 2))
    stream.highest = max(stream.highest, index)
    cipher = _begin(gcm, row, 0, data, index)
    ignored = gcm.length.ctypes.data
    native.evp_cipher_update(cipher, 0, ignored, address, start)
    native.evp_cipher_update(cipher, address + start, ignored, address + start, length - start)
    native.evp_cipher_final(cipher, address + length, ignored)
    if native.evp_cipher_ctrl(cipher, _GET_TAG, TAG_BYTES, address + length) <= 0:
        return -1
    return length + TAG_BYTES


@compiled
def gcm_open(gcm: Any, row: int, data: Any, address: int, start: int, length: int) -> int:
    """Open a packet in place, the header of which ends at `start`; return the plain length, FORGED or NOT_OURS.

    FORGED is one that fails authentication, one seen before, and one that is too old to tell.
    """
    stream = gcm.streams[row]
    ssrc = get32(data, 8)
    if stream.ssrc >= 0 and stream.ssrc != ssrc:
        return NOT_OURS
    index = _index(stream, get16(data, 2))
    end = length - TAG_BYTES
    is_too_old = index < 0 or stream.highest - index >= WINDOW
    if end < start or is_too_old or was_seen(stream.seen, stream.highest, index):
        return FORGED
    cipher = _begin(gcm, row, 1, data, index)
    ignored = gcm.length.ctypes.data
    native.evp_cipher_update(cipher, 0, ignored, address, start)
    native.evp_cipher_update(cipher, address + start, ignored, address + start, end - start)
    native.evp_cipher_ctrl(cipher, _SET_TAG, TAG_BYTES, address + end)
    if native.evp_cipher_final(cipher, address + end, ignored) <= 0:
        return FORGED
    stream.ssrc = ssrc
    stream.highest = see(stream.seen, stream.highest, index)
    return end
