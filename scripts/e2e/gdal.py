"""GDAL's programs and the stand-in server, for the tests in which GDAL judges. Standard library only.

Needs gdalinfo and gdal_translate; `scripts/setup.sh --test` installs them. Scripts end with 77 without them.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"


@contextlib.contextmanager
def standin():
    """The address of a stand-in server, and a folder of its own for what is fetched and cached."""
    if not (shutil.which("gdalinfo") and shutil.which("gdal_translate")):
        print("skipped: no gdalinfo and gdal_translate here")
        sys.exit(77)
    place = pathlib.Path(tempfile.mkdtemp())
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    os.environ["GDAL_DEFAULT_WMS_CACHE_PATH"] = str(place / "cache")
    server = subprocess.Popen([PROGRAMS / "gibs-standin", "serve"], stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip(), place
    finally:
        server.kill()
        shutil.rmtree(place, ignore_errors=True)


def output(*command) -> str:
    """What a command says; it must have nothing to complain of."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode or "ERROR" in done.stderr or "Warning" in done.stderr:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def pixels(source, place: pathlib.Path, *window, bands: int = 3) -> bytes:
    """Samples of a part of a raster, band after band, as GDAL reads them."""
    raw = place / "window.raw"
    chosen = [word for band in range(1, bands + 1) for word in ("-b", band)]
    output("gdal_translate", "-q", "-of", "ENVI", "-co", "INTERLEAVE=BSQ", *chosen, *window, source, raw)
    return raw.read_bytes()
