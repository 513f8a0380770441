"""What `--profile gpu` needs and this machine has not, told at once and before anything is loaded."""

import importlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.model.errors import CallquakeError
from target_stack.config import StackConfig
from target_stack.telemetry.gpu import GpuReader

Check = Callable[[], str]


class NoGpuError(CallquakeError):
    """This machine cannot run the profile; names everything that is missing."""


def require(config: StackConfig, checks: Mapping[str, Check] | None = None) -> None:
    """Raise NoGpuError unless all is there. `checks`: name -> what is wrong, "" for nothing."""
    asked = checks if checks is not None else checks_of(config)
    wrong = [f"{name}: {fault}" for name, check in asked.items() if (fault := check())]
    if wrong:
        raise NoGpuError(
            "--profile gpu cannot run here:\n  " + "\n  ".join(wrong) + "\n  docs/gpu.md says what it needs"
        )


def checks_of(config: StackConfig) -> dict[str, Check]:
    """Return what this configuration needs; parts that were put on the CPU, or elsewhere, need no GPU."""
    checks: dict[str, Check] = {}
    if config.turn.stt_device != "cpu" and not config.remote.stt_url:
        checks["STT"] = _ctranslate2
    if config.tts.engine == "torch":
        checks["TTS weights"] = lambda: _is_there(config.models.tts)
    if config.tts.device.startswith("cuda"):
        checks["TTS"] = _torch
    if config.llm.vllm is not None:
        command = config.llm.vllm.command
        checks["LLM"] = lambda: _is_command(command)
    return {"GPU": _gpu, **checks} if checks else {}


def _gpu() -> str:
    reader = GpuReader()
    try:
        return "" if reader.open() else reader.missing
    finally:
        reader.close()


def _ctranslate2() -> str:
    try:
        count = importlib.import_module("ctranslate2").get_cuda_device_count()
    except ImportError:
        return "faster-whisper is not installed (extra gpu)"
    return "" if count else "faster-whisper's CTranslate2 finds no CUDA device"


def _torch() -> str:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "PyTorch is not installed (extra gpu)"
    return "" if torch.cuda.is_available() else f"PyTorch {torch.__version__} finds no CUDA device"


def _is_there(path: Path | None) -> str:
    return "" if path is not None and path.is_file() else f"no such file: {path}"


def _is_command(command: str) -> str:
    if shutil.which(command):
        return ""
    return f"no command {command}; --vllm-command names one of another environment, --llm-url a running server"
