"""The enterprise license: verification, grace, mail, ticket."""

from harmony_agent.license.loop import LicenseLoop, LicenseOver

__all__ = ["LicenseLoop", "LicenseOver"]
