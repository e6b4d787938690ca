"""Enterprise serials: their form, one instance's serial, the pattern that matches all instances."""

import re
from typing import Final

__all__ = ["admits", "instance_serial", "is_serial", "vlproxy_pattern"]

# AA1234-ZZ5678 is what Cleo documents; its connector code base accepts any six word characters on
# either side of the hyphen, so the agent does too.
_FORM: Final = re.compile(r"[A-Za-z0-9]{6}-[A-Za-z0-9]{6}")

# What a Java regular expression gives a meaning. A hyphen has one inside brackets only, and
# upstream's documentation leaves it as it is: HC1234-ZZ5678-.*
_JAVA_META: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")

# What a Java regular expression's dot does not match (java.util.regex.Pattern, "Line terminators").
_LINE_ENDS: Final = frozenset("\n\r\x85\u2028\u2029")


def is_serial(text: str) -> bool:
    """Whether `text` has the form of an enterprise serial."""
    return _FORM.fullmatch(text) is not None


def instance_serial(serial: str, host: str) -> str:
    """The serial of one container instance."""
    return f"{serial}-{host}"


def vlproxy_pattern(serial: str) -> str:
    """The regular expression by which VLProxy admits every instance of the license."""
    return _JAVA_META.sub(lambda found: "\\" + found[0], serial) + "-.*"


def admits(pattern: str, instance: str) -> bool:
    """Whether VLProxy, which is Java, admits the serial `instance` by a `vlproxy_pattern`."""
    return re.fullmatch(pattern, instance) is not None and not _LINE_ENDS & set(instance)
