#!/usr/bin/env python3
"""Makes the catalogue snapshot that `gibs-downloader` carries, from capabilities documents of GIBS.

Facts only, one JSON object a line: id, title, platform, measurement, tilings (the tile matrix set in each
projection), format, projections, times, tags, colormap, legend. The first line says what the snapshot was
made from. A WMTS document knows tile matrix set, format and colour map; a WMS document knows titles, groups
(what is measured), legends and every time range. The one of the later date wins where both speak, and a
layer that only a WMS document names has no tile matrix set and no format here: the downloader asks the
service for those.

    scripts/catalogue.py --wmts 4326:gibs-geographic.xml --wmts 3413:gibs-arctic.xml \\
        --wms gibs_WMS_capabilities.xml --titles gibs_layers_json -o gibs-downloader/catalogue/layers.jsonl
"""

import argparse
import collections
import json
import pathlib
import re
import xml.etree.ElementTree as ElementTree

WMTS = "{http://www.opengis.net/wmts/1.0}"
OWS = "{http://www.opengis.net/ows/1.1}"
WMS = "{http://www.opengis.net/wms}"
XLINK = "{http://www.w3.org/1999/xlink}"
EXTENSIONS = {"image/jpeg": "jpeg", "image/png": "png"}


def text(element, path):
    found = element.find(path)
    return " ".join(found.text.split()) if found is not None and found.text else ""


def read_wmts(path, projection, layers):
    """Adds tile matrix set, format and colour map."""
    for element in ElementTree.parse(path).getroot().iter(f"{WMTS}Layer"):
        name = text(element, f"{OWS}Identifier")
        layer = layers.setdefault(name, {"id": name, "title": text(element, f"{OWS}Title")})
        layer.setdefault("projections", []).append(int(projection))
        template = element.find(f"{WMTS}ResourceURL").get("template")
        matrix_set = text(element, f"{WMTS}TileMatrixSetLink/{WMTS}TileMatrixSet")
        layer.setdefault("tilings", {})[projection] = {"set": matrix_set}
        layer.setdefault("format", text(element, f"{WMTS}Format"))
        extension = template.rsplit(".", 1)[1]
        if extension != EXTENSIONS.get(layer["format"]):
            layer.setdefault("extension", extension)
        for metadata in element.iter(f"{OWS}Metadata"):
            if metadata.get(f"{XLINK}role", "").endswith("/colormap/1.3"):
                layer.setdefault("colormap", metadata.get(f"{XLINK}href"))
        times = [v.text.strip() for v in element.iter(f"{WMTS}Value")]
        if times:
            layer.setdefault("times", times)


def read_wms(path, layers):
    """Adds titles, groups, legends and all time ranges; returns the commonest default day, the age of the
    document."""
    days = collections.Counter()
    root = ElementTree.parse(path).getroot()
    groups = {child: parent for parent in root.iter(f"{WMS}Layer") for child in parent.findall(f"{WMS}Layer")}
    for element in root.iter(f"{WMS}Layer"):
        name = text(element, f"{WMS}Name")
        if element.find(f"{WMS}Layer") is not None or not name:
            continue
        layer = layers.setdefault(name, {"id": name, "projections": [4326]})
        layer["title"] = text(element, f"{WMS}Title") or layer.get("title", name)
        if element in groups:
            layer["measurement"] = text(groups[element], f"{WMS}Title")
        if 4326 not in layer["projections"]:
            layer["projections"].append(4326)
        legend = element.find(f"{WMS}Style/{WMS}LegendURL/{WMS}OnlineResource")
        if legend is not None:
            layer["legend"] = legend.get(f"{XLINK}href")
        for dimension in element.findall(f"{WMS}Dimension"):
            if dimension.get("name", "").lower() == "time" and dimension.text:
                layer["times"] = dimension.text.strip().split(",")
                days[dimension.get("default", "")[:10]] += 1
    return days.most_common(1)[0][0] if days else ""


def read_titles(folder, layers):
    """Adds platform and tags, where a layer's description has some."""
    for path in sorted(pathlib.Path(folder).rglob("*.json")):
        for name, facts in json.loads(path.read_text()).get("layers", {}).items():
            if name in layers and facts.get("tags"):
                layers[name]["tags"] = facts["tags"]
            if name in layers and facts.get("subtitle"):
                layers[name]["platform"] = facts["subtitle"].replace("&copy; ", "")


# Satellites, instruments and models that titles end in.
PLATFORM = re.compile(
    r"^((Aqua|Terra|Aura|Aquarius|CALIPSO|CERES|MODIS|VIIRS|AIRS|MISR|MOPITT|OMI|OMPS|MLS|SMAP|GPM|TRMM|IMERG|GEDI|ISS|"
    r"LIS|OTD|GRACE|SeaWiFS|AVHRR|ASTER|SRTM|HLS|AMSU|AMSR|SSM|GCOM|NOAA|S?NPP|Suomi|Landsat|Sentinel|GOES|Himawari|"
    r"MetOp|OCO|MERRA|Daymet|GHRSST|TEMPO|PACE|SWOT|TROPOMI|WELD|SWDB|ABI|AHI)[-+/A-Z0-9. ]*)+", re.I)


def platform_of(title):
    """Satellites and instruments as a title has them at its end: `Aerosol (L2, Day, AIRS, Aqua)`."""
    found = re.search(r"\(([^()]*)\)\s*$", title)
    words = [word.strip() for word in found.group(1).split(",")] if found else []
    return ", ".join(word for word in words if PLATFORM.match(word))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wmts", action="append", default=[], metavar="EPSG:FILE")
    parser.add_argument("--wms", metavar="FILE")
    parser.add_argument("--titles", metavar="FOLDER")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()

    layers = {}
    sources = []
    for source in arguments.wmts:
        projection, path = source.split(":", 1)
        read_wmts(path, projection, layers)
        sources.append(pathlib.Path(path).name)
    date = ""
    if arguments.wms:
        date = read_wms(arguments.wms, layers)
        sources.append(pathlib.Path(arguments.wms).name)
    if arguments.titles:
        read_titles(arguments.titles, layers)
        sources.append(pathlib.Path(arguments.titles).name)

    for layer in layers.values():
        layer.setdefault("platform", platform_of(layer["title"]))

    keys = ["id", "title", "platform", "measurement", "tilings", "format", "extension", "projections", "times",
            "tags", "colormap", "legend"]
    lines = [{"snapshot": date, "sources": sources, "layers": len(layers)}]
    for name in sorted(layers):
        layer = layers[name]
        layer["projections"].sort()
        if "times" in layer:
            layer["times"] = ",".join(layer["times"])
        lines.append({key: layer[key] for key in keys if layer.get(key)})
    with open(arguments.output, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
