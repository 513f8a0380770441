"""What a Retry-After header asks for (RFC 9110 10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# A server that asks for more means "not in this call".
LONGEST_RETRY_AFTER_S = 3600.0


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds a Retry-After header asks for (RFC 9110 10.2.3: a number or a date); None: it says nothing."""
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else _until(text, now or datetime.now(UTC))
    except (ValueError, TypeError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)


def _until(date: str, now: datetime) -> float:
    when = parsedate_to_datetime(date)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now.timestamp()
