"""The JSON Schema of policies, for editors and continuous integration."""

import ast
import inspect
import json
from itertools import pairwise
from pathlib import Path

from drkeeper.app.config import schema as models


def schema_text() -> str:
    """Return the JSON Schema of policies, as kept in policies/policy.schema.json."""
    schema = models.PolicyFile.model_json_schema()
    texts = _attribute_docstrings()
    sections = schema["$defs"]
    for name, model in {models.PolicyFile.__name__: schema, **sections}.items():
        for key, value in model["properties"].items():
            section = sections.get(value.get("$ref", "").rpartition("/")[2], {})
            if texts[name, key] != section.get("description"):  # said there already
                value["description"] = texts[name, key]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "drkeeper policy"
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _attribute_docstrings() -> dict[tuple[str, str], str]:
    """Return the text below each key of each model.

    pydantic could read them as well, but would do so, for every model, each time drkeeper starts.
    """
    texts: dict[tuple[str, str], str] = {}
    for model in ast.parse(Path(models.__file__).read_bytes()).body:
        if not isinstance(model, ast.ClassDef):
            continue
        for key, text in pairwise(model.body):
            if (
                isinstance(key, ast.AnnAssign)
                and isinstance(key.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                texts[model.name, key.target.id] = inspect.cleandoc(str(text.value.value))
    return texts
