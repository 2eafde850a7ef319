#!/usr/bin/env python3
"""Other people's clients against the stand-in server: GDAL's WMTS driver in four projections, and OWSLib.

They must read its capabilities and fetch the pixels that we fetch. Needs gdalinfo and gdal_translate
(`scripts/setup.sh --test` installs them; exit code 77 when they are absent). OWSLib is checked where this
Python has it; `scripts/setup.sh --test` brings one that does: `.deps/clients/bin/python`.
"""

import json
import pathlib
import urllib.request

import gdal

LAYER = "MODIS_Terra_CorrectedReflectance_TrueColor"
DAY = "2020-12-31"  # the default time, which GDAL asks for
# Projection, tile matrix set, deepest level, row and column of a tile.
TILES = [
    ("4326", "250m", 8, 144, 290),
    ("3857", "GoogleMapsCompatible_Level9", 9, 250, 235),
    ("3413", "250m", 5, 40, 20),
    ("3031", "250m", 5, 12, 41),
]


def compare_projection(url: str, place: pathlib.Path, tile: tuple) -> None:
    epsg, matrix_set, level, row, column = tile
    service = f"{url}/wmts/epsg{epsg}/best"
    source = f"WMTS:{service}/1.0.0/WMTSCapabilities.xml,layer={LAYER}"
    about = json.loads(gdal.output("gdalinfo", "-json", source))
    size, transform = about["size"], about["geoTransform"]
    matrix_width = {"4326": 163840, "3857": 131072, "3413": 32768, "3031": 32768}[epsg]
    assert size[0] == matrix_width, (epsg, size)
    edge = 256 if epsg == "3857" else 512
    west, north = transform[0] + column * edge * transform[1], transform[3] + row * edge * transform[5]
    window = ["-projwin", west, north, west + edge * transform[1], north + edge * transform[5]]
    address = f"{service}/{LAYER}/default/{DAY}/{matrix_set}/{level}/{row}/{column}.jpeg"
    native = place / "tile.jpeg"
    native.write_bytes(urllib.request.urlopen(address).read())
    ours, theirs = gdal.pixels(native, place), gdal.pixels(source, place, *window)
    assert len(set(ours)) > 30, f"the tile of EPSG:{epsg} shows nothing"
    assert ours == theirs, f"GDAL sees other pixels in EPSG:{epsg}"


def compare_mosaic(url: str, place: pathlib.Path) -> None:
    """A box over several tiles: the scene that we wrote, and the service, both read by GDAL."""
    box = ["--bbox=-17.6,3.1,-14.9,5.3"]
    gdal.output(gdal.PROGRAMS / "gibs-downloader", "fetch", LAYER, *box, "--from", DAY, "-o", place / "scenes",
                "--endpoint", url, "--quiet")
    window = ["-projwin", -17.578125, 5.2734375, -14.94140625, 3.1640625]
    scene = next((place / "scenes").glob("vrt/*.vrt"))
    source = f"WMTS:{url}/wmts/epsg4326/best/1.0.0/WMTSCapabilities.xml,layer={LAYER}"
    ours, theirs = gdal.pixels(scene, place, *window), gdal.pixels(source, place, *window)
    assert len(ours) == 1200 * 960 * 3 and ours == theirs, "our scene differs from what GDAL fetched"


def compare_owslib(url: str) -> str:
    try:
        from owslib.wmts import WebMapTileService
    except ImportError:
        return "skipped: this Python has no OWSLib"
    for epsg, matrix_set, level, row, column in TILES:
        service = f"{url}/wmts/epsg{epsg}/best"
        client = WebMapTileService(f"{service}/1.0.0/WMTSCapabilities.xml")
        assert LAYER in client.contents and matrix_set in client.tilematrixsets
        assert len(client.tilematrixsets[matrix_set].tilematrix) == level + 1
        got = client.gettile(layer=LAYER, tilematrixset=matrix_set, tilematrix=str(level), row=row,
                             column=column, format="image/jpeg", time=DAY).read()
        address = f"{service}/{LAYER}/default/{DAY}/{matrix_set}/{level}/{row}/{column}.jpeg"
        assert got == urllib.request.urlopen(address).read(), f"OWSLib fetched another tile in EPSG:{epsg}"
    return "OWSLib fetches the same bytes"


def main() -> None:
    with gdal.standin() as (url, place):
        for tile in TILES:
            compare_projection(url, place, tile)
        compare_mosaic(url, place)
        print(f"stand-in: GDAL sees the same pixels in four projections; {compare_owslib(url)}")


if __name__ == "__main__":
    main()
