#!/usr/bin/env python3
"""What is made of scenes, judged by other people's programs.

Mosaics pixel by pixel against GDAL in every projection, cloud-optimised GeoTIFF by GDAL's own validator, STAC
items by pystac and its schemas, movies by ffmpeg and Pillow, values by a colour map read here with another parser.
Needs GDAL with its Python bindings, ffmpeg, pystac and Pillow (`scripts/setup.sh --test` brings them; run with
`.deps/clients/bin/python`; exit code 77 when they are absent).
"""

import http.server
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree
import zlib

try:
    import numpy
    import pystac
    import pystac.validation
    from osgeo import gdal, osr
    from osgeo_utils.samples import validate_cloud_optimized_geotiff
    from PIL import Image
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
if not shutil.which("ffprobe") or not shutil.which("ffmpeg"):
    print("skipped: no ffmpeg here")
    sys.exit(77)

gdal.UseExceptions()
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("CURATOR_PROGRAMS", ROOT / "target" / "release"))
DATA = pathlib.Path(os.environ.get("CURATOR_SHARED_DATA", ROOT.parent / "shared" / "data"))
TRUE_COLOR = "MODIS_Terra_CorrectedReflectance_TrueColor"
NDVI = "MODIS_Terra_NDVI_8Day"
# Projection, box in degrees, level, and a box inside it in pixels of the scene.
PLACES = [
    ("4326", "-18,2,-10,9", 6, (100, 37, 700, 611)),
    ("3857", "-18,2,-10,9", 7, (100, 37, 500, 411)),
    ("3413", "-60,65,-20,75", 4, (100, 37, 700, 611)),
    ("3031", "20,-80,60,-70", 4, (100, 37, 700, 611)),
]


def run(program: str, *arguments, code: int = 0) -> dict:
    command = [PROGRAMS / program, *map(str, arguments), "--json", "--no-progress"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    if done.returncode != code:
        sys.exit(f"{' '.join(map(str, command))}\n{done.returncode}: {done.stdout}{done.stderr}")
    assert code or not done.stderr, done.stderr
    return json.loads(done.stdout)


def ours(*arguments, code: int = 0) -> dict:
    return run("gibs-downloader", *arguments, code=code)


def pixels(path, window=None) -> numpy.ndarray:
    """Bands, rows, columns, as GDAL reads them."""
    raster = gdal.Open(str(path))
    array = raster.ReadAsArray(*(window or ()))
    return array if array.ndim == 3 else array[numpy.newaxis]


def units(path, window) -> str:
    """A window in the units of a raster's projection, as `--bounds` wants it."""
    x, dx, _, y, _, dy = gdal.Open(str(path)).GetGeoTransform()
    left, top, width, height = window
    edges = (x + left * dx, y + (top + height) * dy, x + (left + width) * dx, y + top * dy)
    return "--bounds=" + ",".join(repr(edge) for edge in edges)


def check_place(made, scene, window) -> None:
    mine, theirs = gdal.Open(str(made)), gdal.Open(str(scene))
    x, dx, _, y, _, dy = theirs.GetGeoTransform()
    wanted = (x + window[0] * dx, dx, 0, y + window[1] * dy, 0, dy)
    assert numpy.allclose(mine.GetGeoTransform(), wanted, rtol=0, atol=abs(dx) * 1e-6), (made, wanted)
    references = [osr.SpatialReference(wkt=raster.GetProjection()) for raster in (mine, theirs)]
    assert references[0].IsSame(references[1]), f"{made} is in another projection"


def check_cog(path) -> None:
    warnings, errors, _ = validate_cloud_optimized_geotiff.validate(str(path), full_check=True)
    assert not errors and not warnings, (path, errors, warnings)


def check_overviews(path, nearest: bool) -> None:
    raster = gdal.Open(str(path))  # bands do not keep it open
    band = raster.GetRasterBand(1)
    finer = band.ReadAsArray().astype(numpy.float64)
    for number in range(band.GetOverviewCount()):
        coarser = band.GetOverview(number).ReadAsArray()
        assert coarser.shape == tuple((side + 1) // 2 for side in finer.shape), path
        rows, columns = (side // 2 * 2 for side in finer.shape)
        four = finer[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2)
        expected = four[:, 0, :, 0] if nearest else numpy.floor(four.mean(axis=(1, 3)) + 0.5)
        assert (coarser[: rows // 2, : columns // 2] == expected).all(), f"overview {number} of {path}"
        finer = coarser.astype(numpy.float64)


def compare_mosaics(url: str, place: pathlib.Path, projection: str, box: str, level: int, window) -> None:
    scenes = place / f"scenes-{projection}"
    for layer in (TRUE_COLOR, NDVI):
        elsewhere = [] if projection == "4326" else ["--projection", projection]
        ours("fetch", layer, f"--bbox={box}", "--from", "2020-09-13", "--level", level, "-o", scenes, *elsewhere,
             "--endpoint", url)
    for layer, bands in ((TRUE_COLOR, 3), (NDVI, 4)):
        scene = next(item for item in scene_files(scenes) if layer in item.name)
        want = [scenes, "--layer", layer]
        theirs = pixels(scene, window)
        assert theirs.shape[0] == bands and len(numpy.unique(theirs)) > 30, f"{scene} shows nothing"
        for name, *options in (
            ("deflate.tif",),
            ("plain.tif", "--compression", "none"),
            ("plain.png",),
        ):
            made = place / f"{projection}-{layer}-{name}"
            ours("mosaic", *want, "-o", made, units(scene, window), *options)
            assert (pixels(made) == theirs).all(), f"{made} differs from GDAL's"
            check_place(made, scene, window)
            if made.suffix == ".tif":
                check_cog(made)
                check_overviews(made, nearest=bands == 4)
        whole = place / f"{projection}-{layer}-whole.tif"
        ours("mosaic", *want, "-o", whole)
        assert (pixels(whole) == pixels(scene)).all(), f"{whole} differs from the scene"
        check_cog(whole)
    # JPEG loses detail; how much, GDAL's own file of the same quality tells.
    scene = next(item for item in scene_files(scenes) if TRUE_COLOR in item.name)
    theirs = pixels(scene, window).astype(int)
    gdal.Translate(str(place / "theirs.jpg"), str(scene), srcWin=window, format="JPEG", creationOptions=["QUALITY=90"])
    loss = numpy.abs(pixels(place / "theirs.jpg") - theirs).mean()
    for name in ("lossy.jpg", "lossy.tif"):
        made = place / f"{projection}-{name}"
        ours("mosaic", scenes, "--layer", TRUE_COLOR, "-o", made, units(scene, window), "--compression", "jpeg")
        check_place(made, scene, window)
        mine = numpy.abs(pixels(made).astype(int) - theirs).mean()
        assert mine < 1.1 * loss + 0.05, (made, mine, loss)
        if made.suffix == ".tif":
            check_cog(made)


def scene_files(scenes: pathlib.Path) -> list:
    """The files that GDAL opens: as the STAC items say."""
    items = [json.loads(path.read_text()) for path in sorted(scenes.glob("stac/*.json"))]
    return [(scenes / "stac" / item["assets"]["scene"]["href"]).resolve() for item in items if item["type"] == "Feature"]


def compare_antimeridian(url: str, place: pathlib.Path) -> None:
    scenes = place / "fiji"
    ours("fetch", TRUE_COLOR, "--bbox=176,-20,-177,-15", "--from", "2020-09-13", "--level", 6, "-o", scenes, "--endpoint", url)
    scene = scene_files(scenes)[0]
    whole = pixels(scene)  # from −180° to 180°
    made = place / "fiji.tif"
    ours("mosaic", scenes, "-o", made, "--bbox=177,-20,-178,-15")
    x, dx, _, y, _, dy = gdal.Open(str(made)).GetGeoTransform()
    columns = (numpy.arange(gdal.Open(str(made)).RasterXSize) + round((x + 180) / dx)) % whole.shape[2]
    top = round((y - gdal.Open(str(scene)).GetGeoTransform()[3]) / dy)
    mine = pixels(made)
    assert (mine == whole[:, top : top + mine.shape[1], columns]).all(), "another picture over the antimeridian"
    assert abs(x - 177) < dx and mine.shape[2] > 560
    # All that was fetched is one picture too, without the empty rest of the world.
    report = ours("mosaic", scenes, "-o", place / "all-fiji.tif")
    assert report["made"][0]["width"] < 2000, report


def check_items(directories) -> int:
    count = 0
    for scenes in directories:
        catalog = pystac.Catalog.from_file(str(scenes / "stac" / "catalog.json"))
        items = list(catalog.get_items())
        assert items and len(items) == len(list(scenes.glob("stac/*.json"))) - 1
        for item in items:
            described = item.to_dict(include_self_link=False, transform_hrefs=False)
            described["stac_extensions"] = []  # their schemas are on the network; pystac reads the fields below
            pystac.validation.validate_dict(described)
            scene = (scenes / "stac" / item.assets["scene"].href).resolve()
            raster = gdal.Open(str(scene))
            projection = item.ext.proj
            reference = osr.SpatialReference()
            reference.ImportFromEPSG(projection.epsg)
            assert reference.IsSame(osr.SpatialReference(wkt=raster.GetProjection())), scene
            x, dx, _, y, _, dy = raster.GetGeoTransform()
            west, _, _, north = projection.bbox
            assert projection.transform == [dx, 0, west, 0, dy, north], (item.id, projection.transform)
            assert abs(north - y) < 1e-6 and ((west - x) / dx) % 256 == 0, item.id
            for asset in item.assets.values():
                assert (scenes / "stac" / asset.href).exists(), asset.href
            count += 1
        pystac.validation.validate_dict(json.loads((scenes / "stac" / "catalog.json").read_text()))
        assert "acknowledge" in (scenes / "CREDIT.txt").read_text()
    return count


def intervals(xml: pathlib.Path):
    """Colour, opacity and ends of every entry, with another parser than ours."""
    for color_map in ElementTree.parse(xml).iter("ColorMap"):
        legend = color_map.find("Legend")
        classes = legend is not None and legend.get("type") == "classification"
        for entry in color_map.iter("ColorMapEntry"):
            text = entry.get("value") or entry.get("sourceValue")
            missing = entry.get("nodata") == "true" or (classes and color_map.get("title") == "No Data") or text is None
            ends = None
            if not missing:
                numbers = [float(end.replace("INF", "inf")) for end in text.strip("[]()").split(",")]
                ends = (numbers[0], numbers[-1])
            yield tuple(map(int, entry.get("rgb").split(","))), entry.get("transparent") == "true", ends


def middle(ends) -> float:
    low, high = ends
    if numpy.isinf(low):
        return high
    return low if numpy.isinf(high) else (low + high) / 2


def compare_values(place: pathlib.Path) -> None:
    scenes = place / "scenes-4326"
    made = place / "ndvi.tif"
    report = ours("values", scenes, "--layer", "ndvi", "-o", made)["made"][0]
    scene = next(item for item in scene_files(scenes) if NDVI in item.name)
    colors = pixels(scene)
    expected = numpy.full(colors.shape[1:], numpy.nan)
    for rgb, transparent, ends in intervals(next(scenes.glob("colormaps/*.xml"))):
        if ends and not transparent:
            expected[(colors[:3].transpose(1, 2, 0) == rgb).all(axis=2) & (colors[3] > 0)] = middle(ends)
    values = pixels(made)[0]
    assert numpy.isfinite(expected).sum() > 1000
    assert numpy.allclose(values, expected, rtol=1e-6, atol=0, equal_nan=True), "values differ from the colour map's"
    assert report["pixels"] == {"exact": int(numpy.isfinite(expected).sum()), "nearest": 0,
                                "missing": int(numpy.isnan(expected).sum())}, report
    check_cog(made)
    check_place(made, scene, (0, 0))
    # Overviews are means of what has values.
    raster = gdal.Open(str(made))
    half = raster.GetRasterBand(1).GetOverview(0).ReadAsArray()
    with numpy.errstate(invalid="ignore"):
        four = values.reshape(half.shape[0], 2, half.shape[1], 2)
        sums, counts = numpy.nansum(four, axis=(1, 3), dtype=numpy.float32), numpy.isfinite(four).sum(axis=(1, 3))
        assert numpy.allclose(half, sums / counts, rtol=1e-5, equal_nan=True)
    # As bands for training, and through the next program.
    bands = place / "bands"
    ours("values", scenes, "-o", bands, "--stack")
    stacked = sorted(bands.glob("*.tif"))
    assert stacked and run("data-preprocessor", "tile", bands, "-o", place / "tiles")["tiles"] >= len(stacked)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def palette_png(colors) -> bytes:
    """A palette picture of 512×512 pixels that goes through its colours, with transparency."""
    rows = b"".join(b"\0" + bytes((x + y) % len(colors) for x in range(512)) for y in range(512))
    palette = b"".join(bytes(rgb) for rgb, _ in colors)
    alpha = bytes(0 if transparent else 255 for _, transparent in colors)
    head = struct.pack(">IIBBBBB", 512, 512, 8, 3, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"PLTE", palette) + chunk(b"tRNS", alpha)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Recorded(http.server.BaseHTTPRequestHandler):
    """A service with one layer for every recorded colour map; its only tile shows all colours of it."""

    maps: dict = {}

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        if self.path.endswith("WMTSCapabilities.xml"):
            body, kind = self.capabilities().encode(), "text/xml"
        elif parts[0] == "colormaps":
            body, kind = self.maps[parts[-1].removesuffix(".xml")].read_bytes(), "text/xml"
        elif self.path.endswith(".png"):
            entries = list(intervals(self.maps[parts[3]]))[:256]
            body, kind = palette_png([(rgb, transparent) for rgb, transparent, _ in entries]), "image/png"
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def capabilities(self) -> str:
        layer = ('<Layer><ows:Title>{0}</ows:Title><ows:Identifier>{0}</ows:Identifier><ows:Metadata '
                 'xlink:role="http://earthdata.nasa.gov/gibs/metadata-type/colormap/1.3" '
                 'xlink:href="https://gibs.earthdata.nasa.gov/colormaps/v1.3/{0}.xml"/><Format>image/png</Format>'
                 '<TileMatrixSetLink><TileMatrixSet>1km</TileMatrixSet></TileMatrixSetLink></Layer>')
        layers = "".join(layer.format(name) for name in self.maps)
        return ('<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1" '
                f'xmlns:xlink="http://www.w3.org/1999/xlink"><Contents>{layers}</Contents></Capabilities>')

    def log_message(self, *_):
        pass


def invert_recorded(place: pathlib.Path) -> str:
    folder = DATA / "gibs_xml" / "colormaps_2017"
    if not folder.is_dir():
        return "skipped recorded colour maps: not there"
    Recorded.maps = {path.stem: path for path in sorted(folder.glob("*.xml"))}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    scenes, values = place / "palettes", place / "palette-values"
    ours("fetch", *Recorded.maps, "--bbox=-17,28,-14,31", "--level", 6, "-o", scenes, "--values",
         "--endpoint", f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    ours("values", scenes, "-o", values, "--offline", "--keep-transparent")
    for name, xml in Recorded.maps.items():
        entries = list(intervals(xml))[:256]
        plain = pixels(next((scenes / "values").glob(f"{name}_*.tif")))[0]
        kept = pixels(next(values.glob(f"{name}_*.tif")))[0]
        for index, (rgb, transparent, ends) in enumerate(entries):
            first = next(i for i, entry in enumerate(entries) if entry[:2] == (rgb, transparent))
            ends = entries[first][2]
            # A colour stands at every (x + y) % n.
            for array, has in ((plain, ends and not transparent), (kept, ends)):
                found = array[0, index]
                assert numpy.isnan(found) if not has else abs(found - middle(ends)) <= 1e-6 * max(1, abs(middle(ends))), \
                    (name, rgb, transparent, ends, found)
    return f"{len(Recorded.maps)} recorded colour maps lead back to their values"


def check_movies(url: str, place: pathlib.Path) -> None:
    scenes = place / "days"
    ours("fetch", TRUE_COLOR, "--bbox=-18,2,-10,9", "--from", "2020-09-10", "--to", "2020-09-15", "--level", 6,
         "-o", scenes, "--endpoint", url)
    files = scene_files(scenes)
    assert len(files) == 6
    frames = [pixels(path).transpose(1, 2, 0) for path in files]
    height, width, _ = frames[0].shape
    size = (400, round(400 * height / width / 2) * 2)
    expected = [numpy.asarray(Image.fromarray(frame).resize(size, Image.BOX), dtype=int) for frame in frames]
    for name, loss in (("movie.mp4", 5), ("movie.gif", 12), ("movie.webp", 6)):
        made = place / name
        report = ours("animate", scenes, "-o", made, "--size", 400, "--fps", 5, "--no-stamp")
        assert (report["frames"], report["width"], report["height"]) == (6, *size), report
        if name == "movie.webp":
            picture = Image.open(made)
            shown = []
            for number in range(picture.n_frames):
                picture.seek(number)
                shown.append(numpy.asarray(picture.convert("RGB"), dtype=int))
                assert picture.info["duration"] == 200
        else:
            probe = json.loads(subprocess.check_output(
                ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", made]))["streams"][0]
            assert (probe["width"], probe["height"], int(probe["nb_read_frames"])) == (*size, 6), probe
            assert probe["r_frame_rate"] == "5/1", probe
            done = subprocess.run(["ffmpeg", "-v", "error", "-i", made, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                                  capture_output=True, check=True)
            assert not done.stderr, done.stderr
            shown = list(numpy.frombuffer(done.stdout, numpy.uint8).reshape(6, size[1], size[0], 3).astype(int))
        for one, other in zip(shown, expected):
            assert numpy.abs(one - other).mean() < loss, (name, numpy.abs(one - other).mean())
        # Equal commands leave the file alone, others are refused; frames differ with their dates.
        assert ours("animate", scenes, "-o", made, "--size", 400, "--fps", 5, "--no-stamp")["up_to_date"]
        ours("animate", scenes, "-o", made, "--size", 400, "--fps", 5, code=2)
        before = made.read_bytes()
        ours("animate", scenes, "-o", made, "--size", 400, "--fps", 5, "--force")
        assert made.read_bytes() != before


def projections() -> bool:
    return "--projection" in subprocess.check_output([PROGRAMS / "gibs-downloader", "fetch", "--help"], text=True)


def main() -> None:
    place = pathlib.Path(tempfile.mkdtemp())
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    server = subprocess.Popen([PROGRAMS / "gibs-standin", "serve"], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        places = PLACES if projections() else PLACES[:1]
        for projection, *rest in places:
            compare_mosaics(url, place, projection, *rest)
        compare_antimeridian(url, place)
        count = check_items([*place.glob("scenes-*"), place / "fiji"])
        compare_values(place)
        recorded = invert_recorded(place)
        check_movies(url, place)
        print(f"products: mosaics are GDAL's pixels in {len(places)} projections, {count} STAC items are valid, "
              f"movies play; {recorded}")
    finally:
        server.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
