"""The words that rules, decisions and records share. Pure."""

from enum import IntEnum, StrEnum


class Activity(StrEnum):
    """What may be done with a caller's voice; each is allowed or not by itself."""

    # Let an artificial voice speak to somebody we called.
    CALL = "call"
    # Understand what is said, in memory: VAD, STT, language model.
    PROCESS = "process"
    # Keep the words.
    TRANSCRIBE = "transcribe"
    # Keep the audio of both sides.
    RECORD = "record"
    # Extract or keep voiceprints. This stack does neither; the rules are here for those who add it.
    BIOMETRICS = "biometrics"


class Need(IntEnum):
    """What an activity needs of the caller, from least to most; where several rules apply, the most counts."""

    NOTHING = 0
    # To be told, and not to have said no (opt-out).
    NOTICE = 1
    # A yes of the caller's own: spoken, by key, on a form. Silence is none.
    EXPLICIT = 2
    # A yes in writing, obtained outside of the call.
    WRITTEN = 3
    # Not allowed whatever the caller says.
    NEVER = 4


class Notice(StrEnum):
    """What the caller is told. Said in this order."""

    AI_DISCLOSURE = "ai_disclosure"
    CALLER_IDENTITY = "caller_identity"
    DATA_NOTICE = "data_notice"
    RECORDING_NOTICE = "recording_notice"
    OPT_OUT = "opt_out"


class Direction(StrEnum):
    """Who called whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Form(StrEnum):
    """How a caller said yes or no."""

    VOICE = "voice"
    KEYPAD = "keypad"
    # Told by what routes the call to us (an IVR that has asked already), in a header or parameter.
    PARAMETER = "parameter"
    # On paper or electronically signed, entered by the operator.
    WRITTEN = "written"
