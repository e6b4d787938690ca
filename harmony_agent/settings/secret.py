"""Secrets that no repr, log line or error shows by accident."""

from typing import Generic, TypeVar

__all__ = ["SecretBytes", "SecretStr"]

Value = TypeVar("Value", bound=str | bytes)

_STARS = "**********"


class _Secret(Generic[Value]):
    """One secret; equal to another with the same value."""

    __slots__ = ("_value",)

    def __init__(self, value: Value) -> None:
        self._value = value

    def get_secret_value(self) -> Value:
        """The secret itself."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{_STARS}')"

    def __str__(self) -> str:
        return _STARS


class SecretStr(_Secret[str]):
    """A secret that is text."""

    __slots__ = ()


class SecretBytes(_Secret[bytes]):
    """A secret that is a file's content."""

    __slots__ = ()
