"""Fail unless the folder holds one small, pure wheel of the package alone."""

import sys
import zipfile
from pathlib import Path

LIMIT = 1_000_000


def main(folder: str) -> None:
    """Check the only wheel in the folder."""
    (wheel,) = Path(folder).glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl"), f"{wheel.name} is not pure"
    assert wheel.stat().st_size < LIMIT, f"{wheel.name} exceeds {LIMIT} bytes"
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert roots == {"sklearn_sprites"}, f"the wheel also installs {roots}"
    assert "sklearn_sprites/py.typed" in names, "py.typed is missing"


if __name__ == "__main__":
    main(sys.argv[1])
