"""The configuration reference is true."""

from pathlib import Path

from harmony_agent.settings import model
from harmony_agent.settings.properties import properties_of
from harmony_agent.settings.secret_files import KNOWN
from harmony_agent.settings.variables import VARIABLES

REFERENCE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()


def test_every_variable_stands_in_the_reference_with_its_default() -> None:
    """Each row of the table of variables has a row in the document, and the same default."""
    for variable in VARIABLES:
        row = next(
            (r for r in REFERENCE.splitlines() if r.startswith(f"| `{variable.name}` |")), ""
        )
        assert row, f"{variable.name} is not documented"
        if variable.default is not None:
            assert f"`{variable.default}`" in row, variable.name
        assert ("(secret)" in row) == variable.secret


def test_every_secret_file_and_property_stands_in_the_reference() -> None:
    """Files and the first spelling of each connector property are documented."""
    for name in KNOWN:
        assert f"| `{name}` |" in REFERENCE
    for kind in (
        model.FileRepository, model.SmbRepository, model.S3Repository, model.AzureBlobRepository,
        model.GcpBucketRepository, model.SplunkLogSystem, model.DatadogLogSystem,
        model.LocalLogSystem,
    ):  # fmt: skip
        for one in properties_of(kind):
            if one.name not in ("server", "share"):
                assert f"`{one.name}`" in REFERENCE, f"{kind.__name__}.{one.name}"
