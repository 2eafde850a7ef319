#!/usr/bin/env python3
"""GDAL opens every layer of a composite as one picture: its place is that of the scenes, its pixels those of the tiles.

Needs gdalinfo and gdal_translate (`scripts/setup.sh --test` installs them; exit code 77 when they are absent).
"""

import json
import pathlib

import gdal

LAYER = "MODIS_Terra_CorrectedReflectance_TrueColor"
BANDS = {"_Composite": 3, "_Composite_Data_No_Data": 2, "_Composite_Source_Date": 1, "_Cloud_Probability": 2}
EDGE = 512


def main() -> None:
    with gdal.standin() as (url, place):
        scenes, made = place / "scenes", place / "composite"
        gdal.output(gdal.PROGRAMS / "gibs-downloader", "fetch", LAYER, "--bbox=-20,1,-15,6", "--from", "2020-09-10",
                    "--to", "2020-09-12", "-o", scenes, "--endpoint", url, "--level", 6, "--quiet")
        gdal.output(gdal.PROGRAMS / "data-preprocessor", "composite", scenes, "-o", made, "--quiet")
        there = json.loads(gdal.output("gdalinfo", "-json", next((scenes / "vrt").glob("*.vrt"))))
        seen = {}
        for vrt in sorted((made / "vrt").glob("*.vrt")):
            layer, time = vrt.stem.removeprefix(LAYER).rsplit("_", 3)[:2]
            about = json.loads(gdal.output("gdalinfo", "-json", "-checksum", vrt))
            assert about["size"] == there["size"], (vrt, about["size"], there["size"])
            assert about["geoTransform"] == there["geoTransform"], (vrt, about, there)
            assert about["coordinateSystem"] == there["coordinateSystem"], (vrt, about)
            assert len(about["bands"]) == BANDS[layer], (vrt, about["bands"])
            natives = sorted((made / "native" / f"{LAYER}{layer}" / time).rglob("*_*.*"))
            rows, columns = zip(*(map(int, native.stem.split("_")) for native in natives))
            for native, row, column in zip(natives, rows, columns):
                window = ["-srcwin", (column - min(columns)) * EDGE, (row - min(rows)) * EDGE, EDGE, EDGE]
                bands = BANDS[layer]
                assert gdal.pixels(vrt, place, *window, bands=bands) == gdal.pixels(native, place, bands=bands), native
            seen[layer] = seen.get(layer, 0) + 1
        assert seen == {layer: 3 if layer == "_Cloud_Probability" else 1 for layer in BANDS}, seen
        print(f"composite: GDAL opens {sum(seen.values())} layers of a composite as they are")


if __name__ == "__main__":
    main()
