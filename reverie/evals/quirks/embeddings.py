"""``/v1/embeddings``: hashed bags of words, so that texts that share words are similar."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from reverie.evals.quirks.behaviour import Quirks
from reverie.evals.quirks.prompt import tokens
from reverie.evals.quirks.refused import refused


def document(body: Mapping[str, Any], model: str, quirks: Quirks) -> str:
    """The response. Raises ``Refused``."""
    given = body["input"]
    texts = [given] if isinstance(given, str) else given
    if len(texts) > quirks.embeddings_most:
        raise refused(
            f"batch size {len(texts)} > maximum allowed batch size {quirks.embeddings_most}",
            param="input",
        )
    counts = [len(tokens(text)) for text in texts]
    if max(counts, default=0) > quirks.window and quirks.overflow != "cut":
        raise refused(
            f"This model's maximum context length is {quirks.window} tokens. However, you "
            f"requested {max(counts)} tokens in the input for embedding generation. Please "
            "reduce the length of the input.",
            kind="BadRequestError",
            code=400,
        )
    dimension = body.get("dimensions") or quirks.dimension
    coded = quirks.embeddings_base64 or body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(texts[: max(len(texts) - quirks.embeddings_lost, 0)]):
        made: list[float] | str = vector(text, dimension, unit=not quirks.embeddings_unnormalised)
        if coded:
            made = base64.b64encode(struct.pack(f"<{dimension}f", *made)).decode()
        data.append({"object": "embedding", "index": index, "embedding": made})
    if quirks.embeddings_shuffled:
        data = data[1::2][::-1] + data[::2]
    said: dict[str, Any] = {"object": "list", "model": model, "data": data}
    if quirks.usage != "never":
        said["usage"] = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    return json.dumps(said)


def vector(text: str, dimension: int, *, unit: bool = True) -> list[float]:
    """``dimension`` numbers; of length one, or else about as long as the text has words."""
    made = [0.0] * dimension
    for word in text.lower().split() or [""]:
        number = zlib.crc32(word.strip(".,:;?!").encode("utf-8", "replace"))
        made[number % dimension] += 1.0 if number & 1 << 20 else 0.5
    length = math.sqrt(sum(x * x for x in made)) if unit else 0.5
    return [x / length for x in made]
