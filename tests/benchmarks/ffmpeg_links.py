"""FFmpeg's libraries out of PyAV's wheel, under the names that torchcodec looks for.

``python tests/benchmarks/ffmpeg_links.py FOLDER`` makes links there and prints the folder, for
``LD_LIBRARY_PATH``: torchcodec brings no FFmpeg, and so both decode by the very same one.
"""

import re
import sys
from pathlib import Path

import av


def link(folder: Path) -> Path:
    """Make the links, over those that there are."""
    folder.mkdir(parents=True, exist_ok=True)
    bundled = Path(av.__file__).parent.parent / "av.libs"
    for library in bundled.glob("lib*.so.*"):
        # libavutil-5809ad29.so.60.26.102 → libavutil.so.60
        found = re.fullmatch(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+\.so\.(\d+)\..*", library.name)
        if found:
            name = folder / f"{found[1]}.so.{found[2]}"
            name.unlink(missing_ok=True)
            name.symlink_to(library)
    return folder.absolute()


if __name__ == "__main__":
    print(link(Path(sys.argv[1])))
