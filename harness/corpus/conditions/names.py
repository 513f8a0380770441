"""What conditions are called, in one place: manifests, recipes, reports and clip ids all spell them by this file."""

CLEAN = "clean"
NO_ROOM = "none"
NO_DISTORTION = "none"
WIDEBAND = "wideband"
# The 300 to 3400 Hz of a telephone line; in a chain it stands before the codec: "phone-gsm".
PHONE = "phone"
CODECS = (
    "g711-ulaw",
    "g711-alaw",
    "g722",
    "gsm",
    "amr-12k2",
    "amr-4k75",
    "opus-6k",
    "opus-12k",
    "opus-24k",
)
CHANNELS = (WIDEBAND, PHONE, *CODECS, *(f"{PHONE}-{codec}" for codec in CODECS))


def condition_name(
    noise: str = CLEAN,
    snr_db: float | None = None,
    room: str = NO_ROOM,
    distortion: str = NO_DISTORTION,
    channel: str = WIDEBAND,
) -> str:
    """Spell a condition, its parts in the order in which they happen: "babble-10db-room-hall-clipped-phone-gsm".

    What is at its default is left out; nothing at all is "clean".
    """
    parts = []
    if noise != CLEAN:
        parts.append(noise if snr_db is None else f"{noise}-{spell_db(snr_db)}db")
    if room != NO_ROOM:
        parts.append(f"room-{room}")
    if distortion != NO_DISTORTION:
        parts.append(distortion)
    if channel != WIDEBAND:
        parts.append(channel)
    return "-".join(parts) or CLEAN


def spell_db(value: float) -> str:
    """Decibels within a name: 5 is "5", 2.5 is "2p5", -5 is "m5"."""
    return ("m" if value < 0 else "") + f"{abs(value):g}".replace(".", "p")
