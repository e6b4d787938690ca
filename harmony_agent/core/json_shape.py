"""JSON values become dataclasses, or are refused: for files that somebody may have changed."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["Range", "parse"]

T = TypeVar("T")


class Range(NamedTuple):
    """Bounds of a number, both inclusive: `Annotated[float, Range(0, 100)]`."""

    lowest: float
    highest: float


def parse(kind: type[T], value: Any) -> T:
    """`value`, as JSON gave it, as an instance of the dataclass `kind`.

    Takes fields of str, float (finite; whole numbers count; perhaps in a Range), bool,
    enumerations of text, None, tuples of one kind, and dataclasses of these. Keys that are not
    known are dropped. Raises ValueError if the shape is another one.
    """
    parsed: T = _parse(kind, value)
    return parsed


def _parse(kind: Any, value: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return _either(get_args(kind), value)
    if get_origin(kind) is Annotated:
        base, bounds = get_args(kind)
        return _within(bounds, _parse(base, value))
    if get_origin(kind) is tuple:
        return tuple(_parse(get_args(kind)[0], one) for one in _expect(list, value))
    if kind is NoneType:
        return _expect(NoneType, value)
    if kind is float:
        return _number(value)
    if issubclass(kind, Enum):
        return kind(value)  # raises ValueError
    if is_dataclass(kind):
        return _object(kind, _expect(Mapping, value))
    return _expect(kind, value)


def _either(kinds: tuple[Any, ...], value: Any) -> Any:
    """The first of `kinds` that fits."""
    for kind in kinds[:-1]:
        try:
            return _parse(kind, value)
        except ValueError:
            continue
    return _parse(kinds[-1], value)


def _object(kind: Any, value: Mapping[str, Any]) -> Any:
    hints = _hints(kind)
    given = {f.name: _parse(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value}
    try:
        return kind(**given)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(str(error)) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a number but {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _within(bounds: Range, number: float) -> float:
    if not bounds.lowest <= number <= bounds.highest:
        raise ValueError(f"not from {bounds.lowest:g} to {bounds.highest:g}")
    return number


def _expect(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"not {kind.__name__} but {type(value).__name__}")
    return value
