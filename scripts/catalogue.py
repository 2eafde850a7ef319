#!/usr/bin/env python3
"""Makes the catalogue snapshot that `gibs-downloader` carries, from capabilities documents of GIBS.

Facts only, one JSON object a line: id, title, tile matrix set, format, projections, times, tags. The
first line says what the snapshot was made from. A WMTS document knows the tile matrix set and the
format; a WMS document knows titles and every time range. The one of the later date wins where both
speak, and a layer that only a WMS document names has no tile matrix set and no format here: the
downloader asks the service for those.

    scripts/catalogue.py --wmts 4326:gibs-geographic.xml --wmts 3413:gibs-arctic.xml \\
        --wms gibs_WMS_capabilities.xml --titles gibs_layers_json -o gibs-downloader/catalogue/layers.jsonl
"""

import argparse
import collections
import json
import pathlib
import xml.etree.ElementTree as ElementTree

WMTS = "{http://www.opengis.net/wmts/1.0}"
OWS = "{http://www.opengis.net/ows/1.1}"
WMS = "{http://www.opengis.net/wms}"
EXTENSIONS = {"image/jpeg": "jpeg", "image/png": "png"}


def text(element, path):
    found = element.find(path)
    return " ".join(found.text.split()) if found is not None and found.text else ""


def read_wmts(path, projection, layers):
    """Adds tile matrix set and format of EPSG:4326; of other projections only that they exist."""
    for element in ElementTree.parse(path).getroot().iter(f"{WMTS}Layer"):
        name = text(element, f"{OWS}Identifier")
        layer = layers.setdefault(name, {"id": name, "title": text(element, f"{OWS}Title")})
        layer.setdefault("projections", []).append(projection)
        if projection != "4326":
            continue
        template = element.find(f"{WMTS}ResourceURL").get("template")
        layer["matrix_set"] = text(element, f"{WMTS}TileMatrixSetLink/{WMTS}TileMatrixSet")
        layer["format"] = text(element, f"{WMTS}Format")
        extension = template.rsplit(".", 1)[1]
        if extension != EXTENSIONS.get(layer["format"]):
            layer["extension"] = extension
        times = [v.text.strip() for v in element.iter(f"{WMTS}Value")]
        if times:
            layer["times"] = times


def read_wms(path, layers):
    """Adds titles and all time ranges; returns the commonest default day, the age of the document."""
    days = collections.Counter()
    for element in ElementTree.parse(path).getroot().iter(f"{WMS}Layer"):
        name = text(element, f"{WMS}Name")
        if element.find(f"{WMS}Layer") is not None or not name:
            continue
        layer = layers.setdefault(name, {"id": name, "projections": ["4326"]})
        layer["title"] = text(element, f"{WMS}Title") or layer.get("title", name)
        if "4326" not in layer["projections"]:
            layer["projections"].append("4326")
        for dimension in element.findall(f"{WMS}Dimension"):
            if dimension.get("name", "").lower() == "time" and dimension.text:
                layer["times"] = dimension.text.strip().split(",")
                days[dimension.get("default", "")[:10]] += 1
    return days.most_common(1)[0][0] if days else ""


def read_titles(folder, layers):
    """Adds tags, where a layer's description has some."""
    for path in sorted(pathlib.Path(folder).rglob("*.json")):
        for name, facts in json.loads(path.read_text()).get("layers", {}).items():
            if name in layers and facts.get("tags"):
                layers[name]["tags"] = facts["tags"]


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

    keys = ["id", "title", "matrix_set", "format", "extension", "projections", "times", "tags"]
    lines = [{"snapshot": date, "sources": sources, "layers": len(layers)}]
    for name in sorted(layers):
        layer = layers[name]
        layer["projections"].sort()
        if "times" in layer:
            layer["times"] = ",".join(layer["times"])
        lines.append({key: layer[key] for key in keys if key in layer})
    with open(arguments.output, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
