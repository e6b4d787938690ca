"""Enterprise serials: their form, one instance's serial, the pattern that matches all instances."""

import re
from typing import Final

__all__ = ["instance_serial", "is_serial", "vlproxy_pattern"]

# AA1234-ZZ5678 is what Cleo documents; its connector code base accepts any six word characters on
# either side of the hyphen, so the agent does too.
_FORM: Final = re.compile(r"[A-Za-z0-9]{6}-[A-Za-z0-9]{6}")

# What a Java regular expression gives a meaning. A hyphen has one inside brackets only, and
# upstream's documentation leaves it as it is: HC1234-ZZ5678-.*
_JAVA_META: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")


def is_serial(text: str) -> bool:
    """Whether `text` has the form of an enterprise serial."""
    return _FORM.fullmatch(text) is not None


def instance_serial(serial: str, host: str) -> str:
    """The serial of one container instance."""
    return f"{serial}-{host}"


def vlproxy_pattern(serial: str) -> str:
    """The regular expression by which VLProxy admits every instance of the license."""
    return _JAVA_META.sub(lambda found: "\\" + found[0], serial) + "-.*"
