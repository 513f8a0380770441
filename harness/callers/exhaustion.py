"""System errors that say that this machine ran out of something: the generator's failure, never the target's."""

import errno

from harness.model.errors import GeneratorError

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


def raise_if_ours(error: BaseException, doing: str) -> None:
    """Raise GeneratorError where `error` is of descriptors, buffers, memory or local ports that ran out here.

    `doing` is what could not be done, e.g. "connecting to http://host:port/". An error that wraps another (aiohttp's
    do) has its number or is caused by the one that has.
    """
    number = getattr(error, "errno", None)
    cause = getattr(error, "os_error", None) or error.__cause__
    if number not in _OURS and cause is not None:
        number = getattr(cause, "errno", None)
    if number in _OURS:
        name = errno.errorcode[number]
        raise GeneratorError(f"{doing}: this machine ran out of what it takes ({name}): {error}") from error
