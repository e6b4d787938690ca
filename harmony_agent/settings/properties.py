"""What a connector's properties are called in upstream's YAML, and how their values are read.

A model of connector settings is a frozen dataclass whose fields are made by `prop`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

__all__ = ["Problem", "Property", "Unusable", "build", "prop", "properties_of"]

M = TypeVar("M")

_KEY: Final = "property"


@dataclasses.dataclass(frozen=True, slots=True)
class Property:
    """One property: its field, its spellings (the first is the canonical one; any case is taken),
    how its value is read (raises ValueError that says what would be right), what it should be."""

    field: str
    names: tuple[str, ...]
    read: Callable[[Any], Any]
    meaning: str
    required: bool

    @property
    def name(self) -> str:
        """The canonical spelling."""
        return self.names[0]


class Problem(NamedTuple):
    """What is wrong with one property, by its canonical name; of several together, the name is
    empty. A property that is missing has no words."""

    name: str
    words: str | None


class Unusable(ValueError):
    """Properties from which no settings can be made. No value is shown: it may be a secret."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.name} {p.words or 'is missing'}".strip() for p in problems))
        self.problems = problems


def prop(
    read: Callable[[Any], Any], *names: str, meaning: str, default: Any = dataclasses.MISSING
) -> Any:
    """A field of connector settings; without `names` it is spelled like the field, without a
    default it is required. `meaning` says what it should be, for a person who left it out."""
    metadata = {_KEY: (names, read, meaning)}
    return dataclasses.field(default=default, metadata=metadata)


def properties_of(kind: type[Any]) -> list[Property]:
    """All properties of a model of connector settings."""
    found = []
    for field in dataclasses.fields(kind):
        if _KEY in field.metadata:
            names, read, meaning = field.metadata[_KEY]
            required = field.default is dataclasses.MISSING
            found.append(Property(field.name, names or (field.name,), read, meaning, required))
    return found


def build(kind: type[M], given: Mapping[str, Any]) -> M:
    """Settings from values by canonical name or field name.

    Raises Unusable with every problem, and TypeError if a name is not known.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    rest = dict(given)
    for one in properties_of(kind):
        value = rest.pop(one.name, rest.pop(one.field, None))
        if value is None:
            if one.required:
                problems.append(Problem(one.name, None))
            continue
        try:
            if isinstance(value, list | dict):
                raise ValueError("must be a single value")
            values[one.field] = one.read(value)
        except ValueError as error:
            problems.append(Problem(one.name, str(error)))
    if rest:
        raise TypeError(f"{kind.__name__} has no property {', '.join(rest)}")
    if problems:
        raise Unusable(problems)
    try:
        return kind(**values)
    except ValueError as error:  # of properties that don't go together
        raise Unusable([Problem("", str(error))]) from None
