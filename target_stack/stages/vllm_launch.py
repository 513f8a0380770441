"""How vLLM's server is started: its command line, without anything to import."""

from dataclasses import dataclass

# The model's name where we start the server.
SERVED_NAME = "default"


@dataclass(frozen=True, slots=True)
class VllmLaunch:
    """`model`: a folder or a hub's name. `context_tokens` 0: the model's own. `arguments`: of `vllm serve`."""

    model: str
    command: str = "vllm"
    context_tokens: int = 0
    arguments: tuple[str, ...] = ()
    # Weights of 100 GB are read for minutes, and CUDA graphs are captured then.
    start_timeout_s: float = 1200.0

    def argv(self, executable: str, port: int) -> list[str]:
        """Return the command line."""
        own = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", SERVED_NAME]
        limit = ["--max-model-len", str(self.context_tokens)] if self.context_tokens else []
        return [executable, "serve", self.model, *own, *limit, *self.arguments]
