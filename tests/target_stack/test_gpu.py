"""GPUs by a library that behaves like NVML, and what `--profile gpu` says where there are none."""

import types

import pytest

from harness.model.clock import NS_PER_S
from harness.model.prometheus_text import samples_of
from target_stack import gpu_check
from target_stack.__main__ import main, parser
from target_stack.config import config_from
from target_stack.telemetry.gpu import GpuReader, nvml, render_gpus

pytestmark = pytest.mark.unit


class NVMLError(Exception):
    """As pynvml's."""


class Nvml:
    """Two GPUs; the second tells neither power nor temperature, as virtual ones do."""

    NVMLError = NVMLError

    def __init__(self, count=2):
        self.count, self.busy, self.is_open = count, [50, 10], True

    def nvmlDeviceGetCount(self):  # noqa: N802 - NVML's own name
        if self.count < 0:
            raise NVMLError("driver gone")
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802 - NVML's own name
        return index

    def nvmlDeviceGetName(self, handle):  # noqa: N802 - NVML's own name
        return b"NVIDIA A10" if handle == 0 else "NVIDIA T4"

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802 - NVML's own name
        return types.SimpleNamespace(gpu=self.busy[handle], memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802 - NVML's own name
        return types.SimpleNamespace(used=2**30 * (handle + 1), total=24 * 2**30)

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802 - NVML's own name
        if handle:
            raise NVMLError("not supported")
        return 70_500

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802 - NVML's own name
        if handle:
            raise NVMLError("not supported")
        return 61 + sensor

    def nvmlShutdown(self):  # noqa: N802 - NVML's own name
        self.is_open = False


def test_each_gpu_is_read_and_busy_seconds_add_up():
    library, clock = Nvml(), [0]
    reader = GpuReader(lambda: (library, ""), lambda: clock[0])
    assert reader.open()
    for busy in (50, 100):
        library.busy[0] = busy
        clock[0] += 2 * NS_PER_S
        reader.read()
    read = {(s.name, s.labels.get("gpu")): s.value for s in samples_of(render_gpus(reader.readings))}
    assert read["callquake_gpus", None] == 2
    assert read["callquake_gpu_utilisation_ratio", "0"] == 1
    assert read["callquake_gpu_busy_seconds_total", "0"] == 3
    assert read["callquake_gpu_busy_seconds_total", "1"] == pytest.approx(0.4)
    assert read["callquake_gpu_memory_used_bytes", "1"] == 2**31
    assert read["callquake_gpu_power_watts", "0"] == 70.5
    assert ("callquake_gpu_power_watts", "1") not in read
    assert ("callquake_gpu_temperature_celsius", "1") not in read
    reader.close()
    assert not library.is_open


@pytest.mark.parametrize(
    ("library", "missing"),
    [
        (lambda: (None, "no driver"), "no driver"),
        (lambda: (Nvml(0), ""), "NVML names no GPU"),
        (lambda: (Nvml(-1), ""), "NVML names no GPU: driver gone"),
    ],
)
def test_without_gpus_there_is_a_reason_and_no_sample_but_their_number(library, missing):
    reader = GpuReader(library)
    assert not reader.open()
    assert reader.missing == missing
    assert [s.value for s in samples_of(render_gpus(reader.readings))] == [0]
    reader.close()


def test_nvml_itself_never_raises():
    library, why = nvml()
    assert (library is None) == bool(why)


def gpu_config(*arguments):
    return config_from(parser({}).parse_args(["up", "--profile", "gpu", *arguments]), {})


def test_the_profile_means_cuda_batches_and_vllm():
    config = gpu_config("--tts-model", "k.pth", "--vllm-model", "org/model", "--vllm-args", "--dtype 'half'")
    assert (config.turn.stt_device, config.turn.stt_compute) == ("cuda", "float16")
    assert (config.tts.engine, config.tts.device, config.tts.batch.size) == ("torch", "cuda", 8)
    assert config.llm.vllm.argv("vllm", 1)[:3] == ["vllm", "serve", "org/model"]
    assert config.llm.vllm.arguments == ("--dtype", "half")
    assert gpu_config("--tts-model", "k.pth", "--llm-url", "http://h").llm.vllm is None


def test_everything_that_is_missing_is_named_at_once():
    config = gpu_config("--tts-model", "/nowhere/k.pth", "--vllm-model", "m", "--vllm-command", "/nowhere/vllm")
    assert set(gpu_check.checks_of(config)) == {"GPU", "STT", "TTS", "TTS weights", "LLM"}
    names = {"GPU": lambda: "none", "STT": lambda: "", "TTS": lambda: "no CUDA"}
    with pytest.raises(gpu_check.NoGpuError, match=r"cannot run here:\n  GPU: none\n  TTS: no CUDA\n") as refused:
        gpu_check.require(config, names)
    assert "STT" not in str(refused.value)
    gpu_check.require(config, {"GPU": lambda: ""})


def test_weights_and_a_server_that_are_not_there_stop_it_before_anything_is_loaded(capsys):
    arguments = ["--tts-model", "/nowhere/k.pth", "--vllm-model", "m", "--vllm-command", "/nowhere/vllm"]
    assert main(["up", "--profile", "gpu", *arguments]) == 1
    said = capsys.readouterr().err
    assert "TTS weights: no such file: /nowhere/k.pth" in said
    assert "LLM: no command /nowhere/vllm; --vllm-command names one" in said
