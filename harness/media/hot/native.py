"""C functions that the hot path calls by address, compiled or interpreted: sockets, libsrtp, OpenSSL, libopus.

No compiler is needed on the user's machine: the functions live in the C library, in pylibsrtp's binding (which carries
OpenSSL, or brings in the system's) and in the libopus that PyAV's wheel carries. Compiled code calls them through
symbols registered with LLVM under the names below, without the GIL; interpreted code calls the same addresses through
ctypes. All arguments are 64-bit integers or addresses; each returns a C int unless its line says otherwise.
"""

import ctypes
import ctypes.util
import os
import platform
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
from pylibsrtp import Session, _binding
from pylibsrtp._binding import ffi, lib

from harness.media.hot.jit import INTERPRETED
from harness.model.errors import GeneratorError

_PREFIX = "callquake_"


def _libopus() -> ctypes.CDLL:
    folder = Path(av.__file__).parent
    found = [
        *sorted(folder.parent.glob("av.libs/libopus*")),
        *sorted(folder.glob(".dylibs/libopus*")),
    ]
    name = str(found[0]) if found else ctypes.util.find_library("opus")
    if name is None:
        raise GeneratorError(
            "no libopus: PyAV's wheel carries none and the system has none; install libopus (apt install libopus0)"
        )
    return ctypes.CDLL(name)


_libc = ctypes.CDLL(None, use_errno=True)
_opus = _libopus()
# The OpenSSL that libsrtp itself calls: found through the binding, by whatever link.
_openssl = ctypes.CDLL(_binding.__file__)
HAS_OPENSSL = all(
    hasattr(_openssl, name)
    for name in (
        "EVP_CIPHER_CTX_new",
        "EVP_CIPHER_CTX_free",
        "EVP_CIPHER_CTX_ctrl",
        "EVP_CipherInit_ex",
        "EVP_CipherUpdate",
        "EVP_CipherFinal_ex",
        "EVP_aes_128_gcm",
        "EVP_aes_256_gcm",
    )
)


def _c_address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def _srtp_address(name: str) -> int:
    return int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))


def _evp_address(name: str) -> int:
    # Where the binding hides its OpenSSL there are no ciphers either, and what takes one is never called.
    return _c_address(_openssl, name) if HAS_OPENSSL else _c_address(_libc, "abort")


def _bind(name: str, address: int, arguments: int, *, wide_result: bool = False) -> Callable[..., int]:
    """Return a callable of `arguments` 64-bit integers for the function at `address`."""
    if INTERPRETED:
        result = ctypes.c_int64 if wide_result else ctypes.c_int32
        return ctypes.CFUNCTYPE(result, *[ctypes.c_int64] * arguments)(address)
    import llvmlite.binding as llvm  # noqa: PLC0415 - optional, as numba is
    from numba import types  # noqa: PLC0415 - optional

    llvm.add_symbol(_PREFIX + name, address)
    result_type = types.int64 if wide_result else types.int32
    function: Any = types.ExternalFunction(_PREFIX + name, result_type(*[types.int64] * arguments))
    return function


# sendmmsg(fd, mmsghdr*, count, flags); recvmmsg(fd, mmsghdr*, count, flags, timespec*)
sendmmsg = _bind("sendmmsg", _c_address(_libc, "sendmmsg"), 4)
recvmmsg = _bind("recvmmsg", _c_address(_libc, "recvmmsg"), 5)
# sendmsg(fd, msghdr*, flags) -> ssize_t
sendmsg = _bind("sendmsg", _c_address(_libc, "sendmsg"), 3, wide_result=True)
# epoll_wait(epfd, epoll_event*, count, timeout_ms)
epoll_wait = _bind("epoll_wait", _c_address(_libc, "epoll_wait"), 4)
# clock_gettime(clock, timespec*); clock_nanosleep(clock, flags, timespec*, remaining*)
clock_gettime = _bind("clock_gettime", _c_address(_libc, "clock_gettime"), 2)
clock_nanosleep = _bind("clock_nanosleep", _c_address(_libc, "clock_nanosleep"), 4)
# write(fd, address, count) -> ssize_t; memcpy(to, from, count) -> to
write = _bind("write", _c_address(_libc, "write"), 3, wide_result=True)
memcpy = _bind("memcpy", _c_address(_libc, "memmove"), 3, wide_result=True)
# srtp_protect(session, packet, int* length), in place; 0 is success
srtp_protect = _bind("srtp_protect", _srtp_address("srtp_protect"), 3)
srtp_unprotect = _bind("srtp_unprotect", _srtp_address("srtp_unprotect"), 3)
srtp_protect_rtcp = _bind("srtp_protect_rtcp", _srtp_address("srtp_protect_rtcp"), 3)
srtp_unprotect_rtcp = _bind("srtp_unprotect_rtcp", _srtp_address("srtp_unprotect_rtcp"), 3)
# All of OpenSSL's return 1 for success. EVP_CipherInit_ex(cipher, type, engine, key, iv, seals)
evp_cipher_init = _bind("evp_cipher_init", _evp_address("EVP_CipherInit_ex"), 6)
# EVP_CipherUpdate(cipher, out, int* outl, in, length); EVP_CipherFinal_ex(cipher, out, int* outl)
evp_cipher_update = _bind("evp_cipher_update", _evp_address("EVP_CipherUpdate"), 5)
evp_cipher_final = _bind("evp_cipher_final", _evp_address("EVP_CipherFinal_ex"), 3)
# EVP_CIPHER_CTX_ctrl takes the cipher, a kind of request, and the length and address of what it is about.
evp_cipher_ctrl = _bind("evp_cipher_ctrl", _evp_address("EVP_CIPHER_CTX_ctrl"), 4)
# opus_decoder_init(state, rate, channels); opus_decode(state, data, length, pcm, frame_size, fec) -> samples or < 0
opus_decoder_init = _bind("opus_decoder_init", _c_address(_opus, "opus_decoder_init"), 3)
opus_decode = _bind("opus_decode", _c_address(_opus, "opus_decode"), 6)
# Bytes of one mono decoder's state, rounded up so that states laid end to end are aligned.
OPUS_DECODER_BYTES = -(-int(_opus.opus_decoder_get_size(1)) // 64) * 64

# x86-64 packs epoll_event (12 bytes), other machines align it (16).
IS_EPOLL_PACKED = platform.machine() in {"x86_64", "AMD64"}
EPOLL_EVENT_WORDS = 3 if IS_EPOLL_PACKED else 4
EPOLL_DATA_WORD = 1 if IS_EPOLL_PACKED else 2
_EPOLL_EVENT = struct.Struct("=IQ" if IS_EPOLL_PACKED else "@IQ")
_EPOLL_CTL_ADD, _EPOLL_CTL_DEL, _EPOLLIN = 1, 2, 1
_PR_SET_TIMERSLACK = 29


def epoll_add(epoll_fd: int, fd: int, data: int) -> None:
    """Have `epoll_fd` report readable `fd` as `data`. Raises OSError."""
    event = ctypes.create_string_buffer(_EPOLL_EVENT.pack(_EPOLLIN, data))
    if _libc.epoll_ctl(epoll_fd, _EPOLL_CTL_ADD, fd, event) != 0:
        raise OSError(ctypes.get_errno(), "epoll_ctl")


def epoll_remove(epoll_fd: int, fd: int) -> None:
    """Undo `epoll_add`."""
    _libc.epoll_ctl(epoll_fd, _EPOLL_CTL_DEL, fd, None)


def set_timer_slack(nanoseconds: int) -> None:
    """Have the kernel wake the calling thread at most this late on purpose (it rounds by 50 µs otherwise)."""
    _libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(nanoseconds), 0, 0, 0)


def srtp_address(session: Session | None) -> int:
    """Return the libsrtp session inside `session`, 0 for None."""
    return 0 if session is None else int(ffi.cast("uintptr_t", session._srtp[0]))


def new_gcm_ciphers() -> list[int]:
    """Return four of OpenSSL's contexts: to seal and to open with AES-128-GCM, then with AES-256; else four zeros."""
    if not HAS_OPENSSL:
        return [0] * 4
    made = []
    for name in ("EVP_aes_128_gcm", "EVP_aes_256_gcm"):
        kind = _openssl_call(name, ctypes.c_void_p)
        for seals in (1, 0):
            cipher = _openssl_call("EVP_CIPHER_CTX_new", ctypes.c_void_p)
            _openssl.EVP_CipherInit_ex(*map(ctypes.c_void_p, (cipher, kind, 0, 0, 0)), seals)
            made.append(cipher)
    return made


def free_gcm_ciphers(ciphers: list[int]) -> None:
    """Free what `new_gcm_ciphers` made."""
    for cipher in filter(None, ciphers):
        _openssl.EVP_CIPHER_CTX_free(ctypes.c_void_p(cipher))


def _openssl_call(name: str, result: Any) -> int:
    function = getattr(_openssl, name)
    function.restype = result
    return int(function() or 0)


def epoll_create() -> int:
    """Return a new epoll descriptor that children do not inherit. Raises OSError."""
    fd = int(_libc.epoll_create1(os.O_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "epoll_create1")
    return fd
