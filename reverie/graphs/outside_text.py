"""Text from outside as it may stand in a prompt: the function lives below, with the models, since
what reads documents puts text into prompts too.
"""

from __future__ import annotations

from reverie.models.outside_text import as_data

__all__ = ["as_data"]
