#!/usr/bin/env python3
"""Makes embed-indexer/assets/land.json from Natural Earth's land at 1:110 million (public domain), as the npm
package world-atlas has it: rings of longitude, latitude, longitude, … with a decimal each.

    npm pack world-atlas@2 && tar xzf world-atlas-2*.tgz && scripts/coastline.py package/land-110m.json
"""

import json
import pathlib
import sys

topology = json.load(open(sys.argv[1]))
(sx, sy), (tx, ty) = topology["transform"]["scale"], topology["transform"]["translate"]
arcs = []
for arc in topology["arcs"]:
    x = y = 0
    points = []
    for dx, dy in arc:
        x, y = x + dx, y + dy
        points.append((x * sx + tx, y * sy + ty))
    arcs.append(points)


def ring(numbers):
    points = []
    for number in numbers:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        points += arc[1:] if points else arc
    return [round(value, 1) for point in points for value in point]


def unwrapped(flat):
    """A ring that crosses the antimeridian without jumping to the other side of the map, and once more on that
    side. One around a pole runs along the map's edge and is left as it is."""
    longitudes, latitudes = flat[::2], flat[1::2]
    turned, shift = [], 0
    for before, now in zip([longitudes[0], *longitudes], longitudes):
        shift += 360 if before - now > 180 else -360 if now - before > 180 else 0
        turned.append(now + shift)
    if turned == longitudes or abs(turned[-1] - turned[0]) > 180:
        return [flat]
    aside = -360 if max(turned) > 180 else 360
    return [
        [round(value, 1) for point in zip([x + by for x in turned], latitudes) for value in point] for by in (0, aside)
    ]


rings = []
for geometry in topology["objects"]["land"]["geometries"]:
    polygons = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
    rings += [part for polygon in polygons for numbers in polygon for part in unwrapped(ring(numbers))]
target = pathlib.Path(__file__).resolve().parents[1] / "embed-indexer" / "assets" / "land.json"
target.write_text(json.dumps(rings, separators=(",", ":")) + "\n")
print(f"{len(rings)} rings, {target.stat().st_size} bytes")
