"""What the GPUs do, by NVIDIA's management library (NVML, `nvidia-ml-py`) where both are there.

NVML's utilisation is the share of a short while (a sixth of a second to a second) in which a kernel ran. It is read
once a second; busy seconds add up, so that `rate(callquake_gpu_busy_seconds_total[5m])` is the share over five minutes.
"""

import asyncio
import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.model.clock import NS_PER_S, monotonic_ns
from target_stack.telemetry.exposition import counter, gauge

READ_EVERY_S = 1.0
MILLIWATT = 1e-3


@dataclass
class GpuReading:
    """One GPU, last read. Ratios 0 to 1; None: this GPU does not tell."""

    name: str
    utilisation_ratio: float | None = None
    busy_s: float = 0.0
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None


def nvml() -> tuple[Any, str]:
    """Return (the library, started; None where it cannot be), and why it cannot."""
    try:
        library: Any = importlib.import_module("pynvml")
    except ImportError:
        return None, "the package nvidia-ml-py is not installed"
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return None, f"NVML does not start: {error}"
    return library, ""


class GpuReader:
    """Reads all GPUs. `open`, `read`, `close`; each may wait for the driver, so they are for a thread."""

    def __init__(self, library: Callable[[], tuple[Any, str]] = nvml, now: Callable[[], int] = monotonic_ns) -> None:
        self._library = library
        self._now = now
        self._nvml: Any = None
        self._handles: list[Any] = []
        self._read_ns = 0
        self.readings: list[GpuReading] = []
        # Why there are none; "" where there are.
        self.missing = "not asked yet"

    def open(self) -> bool:
        """Find the GPUs; return whether there are any."""
        self._nvml, self.missing = self._library()
        if self._nvml is None:
            return False
        try:
            count = self._nvml.nvmlDeviceGetCount()
            self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            self.readings = [GpuReading(_text(self._nvml.nvmlDeviceGetName(handle))) for handle in self._handles]
        except self._nvml.NVMLError as error:
            self._handles, self.readings, self.missing = [], [], f"NVML names no GPU: {error}"
            return False
        if not self.readings:
            self.missing = "NVML names no GPU"
        self._read_ns = self._now()
        return bool(self.readings)

    def read(self) -> None:
        """Read each GPU. What one does not tell is None."""
        now_ns = self._now()
        passed_s, self._read_ns = (now_ns - self._read_ns) / NS_PER_S, now_ns
        for handle, reading in zip(self._handles, self.readings, strict=True):
            rates = self._asked("nvmlDeviceGetUtilizationRates", handle)
            memory = self._asked("nvmlDeviceGetMemoryInfo", handle)
            power_mw = self._asked("nvmlDeviceGetPowerUsage", handle)
            reading.utilisation_ratio = rates.gpu / 100 if rates is not None else None
            reading.busy_s += passed_s * (reading.utilisation_ratio or 0.0)
            reading.memory_used_bytes = float(memory.used) if memory is not None else None
            reading.memory_total_bytes = float(memory.total) if memory is not None else None
            reading.power_w = power_mw * MILLIWATT if power_mw is not None else None
            reading.temperature_c = self._asked("nvmlDeviceGetTemperature", handle, 0)

    def _asked(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError:
            # Virtual and shared GPUs leave some out.
            return None

    def close(self) -> None:
        """Let the library go."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None


class GpuWatch:
    """A reader, read once a second on a thread; without GPUs it does nothing."""

    def __init__(self, reader: GpuReader | None = None) -> None:
        self._reader = reader or GpuReader()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for GPUs and begin."""
        if await asyncio.to_thread(self._reader.open):
            self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.to_thread(self._reader.read)
            await asyncio.sleep(READ_EVERY_S)

    def metrics(self) -> str:
        """Return the Prometheus text."""
        return render_gpus(self._reader.readings)

    async def aclose(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._reader.close)


def render_gpus(readings: list[GpuReading]) -> str:
    """Return the text; a GPU is told by its index. Without any, only their number (0)."""

    def rows(value: Callable[[GpuReading], float | None]) -> list[tuple[dict[str, str], float]]:
        found = [({"gpu": str(index)}, value(reading)) for index, reading in enumerate(readings)]
        return [(labels, number) for labels, number in found if number is not None]

    names = [({"gpu": str(index), "name": reading.name}, 1.0) for index, reading in enumerate(readings)]
    text = gauge("gpus", "GPUs that NVML names.", [({}, float(len(readings)))])
    if not readings:
        return text
    return text + "".join(
        (
            gauge("gpu_info", "Always 1.", names),
            gauge("gpu_utilisation_ratio", "Last read.", rows(lambda r: r.utilisation_ratio)),
            counter("gpu_busy_seconds", "Utilisation, added up.", rows(lambda r: r.busy_s)),
            gauge("gpu_memory_used_bytes", "Last read.", rows(lambda r: r.memory_used_bytes)),
            gauge("gpu_memory_total_bytes", "It has.", rows(lambda r: r.memory_total_bytes)),
            gauge("gpu_power_watts", "Last read.", rows(lambda r: r.power_w)),
            gauge("gpu_temperature_celsius", "Last read.", rows(lambda r: r.temperature_c)),
        )
    )


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
