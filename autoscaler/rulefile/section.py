"""A mapping with known keys, and how complaints about it are put into words with a place and a next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from autoscaler.errors import Fault
from autoscaler.yamltree import Step, Tree

Faults = list[tuple[tuple[Step, ...], str]]
"""Places below the value that is being validated, and what is wrong there."""


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """`; did you mean X?`, or nothing when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def wrong(*faults: tuple[tuple[Step, ...], str], title: str = "rules") -> ValidationError:
    """A validation error at places below the value that is being validated."""
    details = [InitErrorDetails(type=_custom(text), loc=way, input=None) for way, text in faults]
    return ValidationError.from_exception_data(title, details)


class Section(BaseModel):
    """A mapping with known keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="wrap")
    @classmethod
    def _in_plain_words(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            details = [cls._explained(e) for e in error.errors(include_url=False)]
            raise ValidationError.from_exception_data(cls.__name__, details) from None

    @classmethod
    def _explained(cls, error: ErrorDetails) -> InitErrorDetails:
        way = error["loc"]
        text = cls._about_keys(error) if len(way) <= 1 else None
        return InitErrorDetails(type=_custom(text or plain_words(error), error["type"]), loc=way, input=None)

    @classmethod
    def _about_keys(cls, error: ErrorDetails) -> str | None:
        known = {f.alias or name: f for name, f in cls.model_fields.items()}
        names = [name for name in known if not name.startswith("(")]
        match error["type"]:
            case "extra_forbidden":
                close = did_you_mean(str(error["loc"][0]), names)
                return f"is not a known key{close or '; known here: ' + ', '.join(names)}"
            case "missing":
                key = str(error["loc"][0])
                examples = known[key].examples or ["..."]
                return f"is missing; add '{key}: {examples[0]}'"
            case "model_type" | "model_attributes_type":
                return f"is not a mapping; write keys below it, known here: {', '.join(names)}"
        return None


def plain_words(error: ErrorDetails) -> str:
    """The text of one pydantic error as a sentence of ours."""
    match error["type"]:
        case "list_type":
            return "is not a list; write [a, b] or one '- item' a line"
        case "dict_type":
            return "is not a mapping; write 'name: value' lines below it"
        case "string_type":
            return "is not a single value; write one word"
        case "value_error":
            return str(error.get("ctx", {}).get("error", error["msg"]))
    return error["msg"]


def faults_of(error: ValidationError, tree: Tree) -> list[Fault]:
    """The errors of a model as faults with the place of what they are about."""
    return [
        tree.fault(e["loc"], e["msg"], at_key=e["type"] == "extra_forbidden") for e in error.errors(include_url=False)
    ]


def _custom(text: str, kind: str = "rule") -> PydanticCustomError:
    # The text is passed as a value and not as the template, because it may hold braces that people wrote.
    code = kind if kind in ("extra_forbidden", "missing") else "rule"
    return PydanticCustomError(code, "{text}", {"text": text})


def key(default: Any, meaning: str, **more: Any) -> Any:
    """A key that may be left out. The default is written as a person would write it, and read in the same way."""
    return Field(default, description=meaning, **more)
