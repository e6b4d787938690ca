"""Takes from a virtual environment what the agent never loads; run while the image is built.

    python slim_image.py VIRTUAL_ENVIRONMENT

Datadog's SDK brings some 4,000 models, of which log search uses its own and those they name.
"""

import re
import shutil
import sys
from pathlib import Path

__all__ = ["slim"]

_DATADOG_ENTRY = "v2/api/logs_api.py"
_DATADOG_MODEL = re.compile(r"datadog_api_client\.v2\.model\.(\w+)")


def slim(environment: Path) -> None:
    """Remove what is not used; raises SystemExit if the SDK is laid out differently."""
    (packages,) = environment.glob("lib/python3*/site-packages")
    _slim_datadog(packages / "datadog_api_client")
    for tests in packages.glob("*/tests"):
        shutil.rmtree(tests)


def _slim_datadog(package: Path) -> None:
    kept = _datadog_models(package)
    for model in (package / "v2" / "model").glob("*.py"):
        if model.stem not in kept | {"__init__"}:
            model.unlink()
    for api in (package / "v2" / "api").glob("*_api.py"):
        if api != package / _DATADOG_ENTRY:
            api.unlink()
    for everything in ("apis.py", "models.py"):  # these import all of them
        (package / "v2" / everything).unlink(missing_ok=True)
    shutil.rmtree(package / "v1")


def _datadog_models(package: Path) -> set[str]:
    """Names of the models that log search reaches: each one also names those it loads later."""
    reached: set[str] = set()
    open_files = [package / _DATADOG_ENTRY]
    while open_files:
        named = set(_DATADOG_MODEL.findall(open_files.pop().read_text())) - reached
        reached |= named
        open_files += [package / "v2" / "model" / f"{name}.py" for name in sorted(named)]
    return reached


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
