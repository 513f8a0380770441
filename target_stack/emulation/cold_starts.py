"""How long each cold start takes: drawn from the file, each time anew, the same in every run."""

from target_stack.emulation.seeded import quantile, uniform
from target_stack.emulation.service_times import ServiceTimes


class ColdStarts:
    """Of all three stages."""

    def __init__(self, times: ServiceTimes, seed: int) -> None:
        self._tables = {
            "stt": times.stt.cold_start_ms,
            "llm": times.llm.cold_start_ms,
            "tts": times.tts.cold_start_ms,
        }
        self._seed = seed
        self._draws = 0

    def draw_ms(self, stage: str) -> float:
        """Return how long the next one takes."""
        self._draws += 1
        return quantile(self._tables[stage], uniform(self._seed, stage, "cold", self._draws))
