"""The form that an answer is asked for in: a Python type, or a JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypeAliasType

from reverie.agents.result import Result, T
from reverie.errors import ConfigError, OutputInvalid

Output = TypeAliasType("Output", type[T] | TypeAdapter[T] | Mapping[str, Any], type_params=(T,))
"""A pydantic model or another type that pydantic knows, or a JSON schema."""


@dataclass(frozen=True, slots=True)
class Form:
    """The schema that the document obeys, and what makes a Python object of it, if anything."""

    schema: dict[str, Any]
    adapter: TypeAdapter[Any] | None = None

    def fill(self, result: Result[Any]) -> Result[Any]:
        """``result`` with the Python object as its output. Raises OutputInvalid for a document that
        obeys the schema and that the type refuses all the same.
        """
        from pydantic import ValidationError

        if self.adapter is None or result.status != "answered":
            return result
        try:
            output = self.adapter.validate_python(result.output)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = "/".join(map(str, first["loc"])) or "the document"
            raise OutputInvalid(
                f"the answer obeys the schema, but not its type: {where}: {first['msg']}",
                hint=f"say it in the schema as well; the run {result.run_id} keeps the answer",
            ) from error
        return result.model_copy(update={"output": output})


def form_of(output: Any) -> Form | None:
    """The form that ``output`` describes: a pydantic model, any type that pydantic knows, or a JSON
    schema as a mapping; None for None.

    Raises ConfigError for what is none of them.
    """
    from pydantic import PydanticUserError
    from pydantic_core import SchemaError

    from reverie.graphs.schema import require_schema

    if output is None:
        return None
    if isinstance(output, Mapping):
        form = Form(dict(output))
    else:
        try:
            adapter = output if isinstance(output, TypeAdapter) else TypeAdapter(output)
            form = Form(adapter.json_schema(), adapter)
        except (PydanticUserError, SchemaError, NameError, TypeError) as error:
            raise ConfigError(
                f"no answer can be asked for as {output!r}: {str(error).splitlines()[0]}",
                hint="give a pydantic model, a type that pydantic knows, or a JSON schema",
            ) from error
    require_schema(form.schema)
    return form
