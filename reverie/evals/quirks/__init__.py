"""A small OpenAI-compatible model server that misbehaves on demand, for tests and benchmarks.

    with QuirkServer(Quirks(usage="never")) as server:
        server.script(Fail(status=429, retry_after=0.2))
        ...  # requests to server.address

What it says comes from a toy model (``reverie.evals.quirks.toy``) whose tokens are words.
"""

from reverie.evals.quirks.behaviour import Fail, Quirks
from reverie.evals.quirks.process import QuirkProcess
from reverie.evals.quirks.recorded import Recorded
from reverie.evals.quirks.server import QuirkServer

__all__ = ["Fail", "QuirkProcess", "QuirkServer", "Quirks", "Recorded"]
