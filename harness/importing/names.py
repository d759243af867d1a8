"""Models as tools name them: a path, a repository or a file with its quantisation, down to a name that is known."""

from __future__ import annotations

import re
from pathlib import PurePath

from ..errors import UsageError
from ..facts.models import model_named

_FORMAT = r"i?q\d(?:_\w+)*|tq\d_\d|ud|bf16|f16|f32|fp16|fp8|fp4|nvfp4|mxfp4|int[48]|w\da\d+|awq|gptq|bnb|[48]bit|gguf|imatrix"
_MADE = r"hf|dynamic|quantized|\d{5}-of-\d{5}|(?:instruct|thinking)(?:-\d{4})?|chat|it|pt|base"
_SUFFIX = re.compile(rf"[-._ ](?:{_FORMAT}|{_MADE})$", re.IGNORECASE)
"""What a name has at its end beyond the shape: number format, fine-tuning, packaging."""


def model_reported(text: str) -> str:
    """The name of the model that a tool's text means; fine-tuned ones have the shape of the one that they come from.

    Raises:
        UsageError: if no model of that name is known; names the nearest ones.
    """
    name = PurePath(text.replace("\\", "/")).name
    plain = re.sub(r"\.(?:gguf|bin|safetensors)$", "", name, flags=re.IGNORECASE)
    while True:
        try:
            return model_named(plain).name
        except UsageError:
            shorter = _SUFFIX.sub("", plain)
            if shorter == plain:
                raise UsageError(str(_of(name))) from None
            plain = shorter


def _of(name: str) -> UsageError:
    """The catalogue's sentence about a name as the file has it."""
    try:
        model_named(name)
    except UsageError as error:
        return error
    raise AssertionError(f"{name!r} is known")
