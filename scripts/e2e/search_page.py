#!/usr/bin/env python3
"""Searches in a real browser: a dropped and a chosen picture, more and less, filters, a click on the map of the world,
keys, a saved selection, a phone, a bookmark; the map of all tiles, served and as a file, with its lasso; accessibility;
nothing fetched from anywhere else. Standard library only.

    scripts/e2e/search_page.py INDEX [--screenshots DIR]

INDEX is an index of tiles with places, such as the demo's. Needs chromium and chromedriver; `scripts/setup.sh --test`
installs them. Exit code 77 when they are absent.
"""

import array
import gzip
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from browser import Browser, needed

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "embed-indexer"
AXE = ROOT / ".deps" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
CARDS = "document.querySelectorAll('#hits li').length"
STATUS = "document.getElementById('status').textContent"
PICTURE = """
const [row, how, done] = arguments;
fetch(`/api/tiles/${row}/image`).then((r) => r.blob()).then((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], 'query.png', { type: blob.type }));
  if (how === 'drop') dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  else if (how === 'paste') dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
  else {
    document.getElementById('file').files = data.files;
    document.getElementById('file').dispatchEvent(new Event('change'));
  }
  done(blob.size);
});
"""
# Where a point is, by moving over the canvas until one is told of.
FIND = """
const canvas = document.getElementById('points');
for (let y = 8; y < innerHeight - 8; y += 5) for (let x = 8; x < innerWidth - 8; x += 5) {
  if (document.elementFromPoint(x, y) !== canvas || (x > innerWidth - 240 && y > innerHeight - 420)) continue;
  canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: x, clientY: y, pointerType: 'mouse', bubbles: true }));
  if (!document.getElementById('card').hidden) return [x, y];
}
"""


def give(browser, row, how):
    size = browser.call("POST", "/execute/async", {"script": PICTURE, "args": [row, how]})
    assert size > 0
    browser.wait(f"{STATUS}.includes('tiles in')", "an answer")


def accessible(browser):
    if not AXE.exists():
        return
    browser.run(AXE.read_text() + "; window.axe = axe;")
    found = browser.run_async("const done = arguments[0]; axe.run().then((r) => done(r.violations.map((v) => v.id + ': ' + v.nodes[0].html)))")
    assert not found, found


def pointer(browser, *steps, kind="mouse"):
    """Moves over places of the window with the button down between the first and the last."""
    actions = [{"type": "pointerMove", "x": int(steps[0][0]), "y": int(steps[0][1]), "duration": 0}]
    if len(steps) > 1:
        actions.append({"type": "pointerDown", "button": 0})
        actions += [{"type": "pointerMove", "x": int(x), "y": int(y), "duration": 30} for x, y in steps[1:]]
        actions.append({"type": "pointerUp", "button": 0})
    hand = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": actions}
    browser.call("POST", "/actions", {"actions": [hand]})


def saved(browser, folder):
    """The ids of the selection, as the browser saves it."""
    file = folder / "selection.txt"
    file.unlink(missing_ok=True)
    browser.click("#save")
    for _ in range(200):
        if file.exists():
            return file.read_text().splitlines()
        time.sleep(0.02)
    raise AssertionError("nothing was saved")


def search(browser, folder, shots):
    assert "token" not in browser.run("return location.href"), "the token stays in the address"
    assert browser.run("return document.cookie") == "", "the cookie can be read by scripts"
    browser.wait("!document.getElementById('world').hidden", "the map of the world")
    for row, how in ((3, "drop"), (5, "paste"), (7, "choose")):
        give(browser, row, how)
        browser.wait(f"{CARDS} > 10 && document.querySelector('#hits img').src.endsWith('/{row}/image')", f"tile {row} as the best answer")
        assert float(browser.run("return document.querySelector('#hits .score').textContent")) > 0.99
    accessible(browser)
    if shots:
        browser.wait("[...document.querySelectorAll('#hits img')].slice(0, 8).every((i) => i.naturalWidth)", "pictures")
        browser.save(shots / "search-desktop.png")
    # More like the second, less like the third: at once.
    second = browser.run("return document.querySelector('#hits li:nth-child(2) img').src")
    browser.click("#hits li:nth-child(2) .buttons button:nth-child(1)")
    browser.wait("document.querySelectorAll('.example').length === 2", "an example")
    browser.wait(f"{STATUS}.includes('tiles in')", "an answer")
    assert browser.run("return document.querySelectorAll('.example img')[1].src") == second
    browser.click("#hits li:nth-child(3) .buttons button:nth-child(2)")
    browser.wait("document.querySelectorAll('.example.unlike').length === 1", "what it is not")
    browser.wait(f"{STATUS}.includes('tiles in')", "an answer")
    # Filters are exact: nothing is from another century, and five are five.
    browser.run("document.querySelector('[name=to]').value = '1999-01-01'; document.getElementById('filters').onchange()")
    browser.wait(f"{CARDS} === 0", "nothing")
    browser.run("document.querySelector('[name=to]').value = ''; document.querySelector('[name=k]').value = 5; document.getElementById('filters').onchange()")
    browser.wait(f"{CARDS} === 5", "five answers")
    # Keys: move, select, add, and take out again by the example's button.
    browser.run("document.querySelector('#hits li').focus()")
    browser.press("right", "space", "right", "space")
    browser.wait("document.querySelectorAll('#hits li.selected').length === 2 && !document.getElementById('save').hidden", "a selection")
    names = browser.run("return [...document.querySelectorAll('#hits li.selected img')].map((i) => i.alt)")
    assert saved(browser, folder) == names, names
    before = browser.run("return document.querySelectorAll('.example').length")
    browser.press("+")
    browser.wait(f"document.querySelectorAll('.example').length === {before + 1}", "an example by key")
    browser.click(".example:last-child button")
    browser.wait(f"document.querySelectorAll('.example').length === {before}", "the example gone")
    # What is chosen stays chosen in other answers. A click on the map is a place; where no tile is, it is said.
    browser.run("document.getElementById('map').scrollIntoView()")
    x, y, width, height = browser.run("const b = document.getElementById('map').getBoundingClientRect(); return [b.left, b.top, b.width, b.height]")
    pointer(browser, (x + 4, y + 4), (x + 4, y + 4))
    browser.wait(f"{STATUS}.includes('no tile')", "nothing there")
    tile = browser.run_async("const done = arguments[0]; fetch('/api/tiles/0').then((r) => r.json()).then(done)")
    box = tile["bbox"]
    # Alone, the place is the query.
    for _ in range(browser.run("return document.querySelectorAll('#examples button').length")):
        browser.click("#examples button")
    at = (x + ((box["west"] + box["east"]) / 2 + 180) / 360 * width, y + (90 - (box["south"] + box["north"]) / 2) / 180 * height)
    if box["east"] - box["west"] > 0.6:
        pointer(browser, at, at)
        browser.wait(f"{CARDS} === 5", "the tile under the click")
    assert browser.run("return document.querySelector('#hits a')?.href.startsWith('https://worldview.earthdata.nasa.gov/') ?? true")


def points(file):
    """The ids of a map's points, and where they are in the steps of its square."""
    plain = gzip.decompress(file.read_bytes())
    length = struct.unpack_from("<I", plain)[0]
    head = json.loads(plain[4:4 + length])

    def column(name):
        at = head["columns"][name]
        return plain[4 + length + at["start"]:][:at["length"]]

    ids = [name.decode() for name in column("ids").split(b"\0")[:-1]]
    return ids, array.array("H", column("x")), array.array("H", column("y"))


def on_screen(browser, x, y):
    """Where the points are in the window."""
    scale, dx, dy = map(float, browser.run("return document.getElementById('points').dataset.view").split(","))
    ratio = browser.run("return document.getElementById('points').width / innerWidth")
    return [((px * scale + dx) / ratio, ((65534 - py) * scale + dy) / ratio) for px, py in zip(x, y)]


def inside(browser, ids, x, y, left, top, right, bottom):
    """The ids of the points in a box of the window."""
    places = on_screen(browser, x, y)
    return [name for name, (px, py) in zip(ids, places) if left < px < right and top < py < bottom]


def lasso(browser, left, top, right, bottom, kind="mouse"):
    browser.click("#lasso")
    pointer(browser, (left, top), (right, top), (right, bottom), (left, bottom), kind=kind)


def space(browser, folder, packed, shots, name):
    """The map of all tiles, wherever it comes from."""
    browser.wait("document.getElementById('points').dataset.ready === 'yes'", "the map of all tiles")
    ids, x, y = points(packed)
    assert f"{len(ids):,} tiles" in browser.run("return document.getElementById('facts').textContent")
    accessible(browser)
    here = browser.run(FIND)
    assert here, "no point is told of"
    pointer(browser, here)
    browser.wait("!document.getElementById('card').hidden", "the point under the pointer")
    told = browser.run("return document.getElementById('what').textContent")
    assert told.split(" · ")[0] in ids, told
    browser.wait("document.querySelector('#picture img')?.naturalWidth > 0 || document.getElementById('picture').style.backgroundImage.startsWith('url')", "its picture")
    if shots:
        browser.save(shots / f"map-{name}.png")
    # Each way to colour paints something else.
    ways = browser.run("return [...document.getElementById('colour').options].map((o) => o.value)")
    looks = set()
    for way in ways:
        browser.run("const c = document.getElementById('colour'); c.value = arguments[0]; c.onchange()", way)
        time.sleep(0.1)
        looks.add(browser.run("return document.getElementById('points').toDataURL()"))
    assert len(looks) == len(ways) > 1, (len(looks), ways)
    # A lasso selects what lies in it.
    across = sorted(place[0] for place in on_screen(browser, x, y))
    box = (275, 75, int(across[len(across) // 2]) + 1, 840)
    lasso(browser, *box)
    browser.wait("!document.getElementById('bar').hidden", "the selection")
    if shots:
        browser.save(shots / f"map-{name}-lasso.png")
    expected = inside(browser, ids, x, y, *box)
    got = saved(browser, folder)
    assert 0 < len(got) < len(ids) and sorted(got) == sorted(expected), (len(got), len(expected))
    # Closer, by wheel and by key, and moved: the lasso still takes what it surrounds.
    browser.click("#clear")
    before = browser.run("return document.getElementById('points').dataset.view")
    wheel = {"type": "wheel", "id": "wheel", "actions": [{"type": "scroll", "x": 650, "y": 300, "deltaX": 0, "deltaY": -300}]}
    browser.call("POST", "/actions", {"actions": [wheel]})
    browser.wait(f"document.getElementById('points').dataset.view !== '{before}'", "the closer map")
    browser.run("document.getElementById('points').focus()")
    browser.press("+", "left")
    pointer(browser, (600, 300), (640, 330))
    time.sleep(0.2)
    lasso(browser, *box)
    expected = inside(browser, ids, x, y, *box)
    if expected:
        browser.wait("!document.getElementById('bar').hidden", "the selection")
        assert sorted(saved(browser, folder)) == sorted(expected)
    browser.press("0")


def on_phone(browser, origin, packed, shots):
    browser.phone()
    browser.open(origin + "/")
    browser.wait("document.getElementById('facts').textContent", "the phone's page")
    give(browser, 3, "choose")
    browser.wait(f"{CARDS} > 10", "answers on the phone")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), "the phone's page is too wide"
    small = browser.run("return [...document.querySelectorAll('#hits .buttons > *')].filter((b) => b.getBoundingClientRect().height < 40).length")
    assert not small, f"{small} buttons are too small for a thumb"
    accessible(browser)
    if shots:
        browser.save(shots / "search-phone.png")
    browser.open(origin + "/map")
    browser.wait("document.getElementById('points').dataset.ready === 'yes'", "the map on the phone")
    ids, x, y = points(packed)
    before = float(browser.run("return document.getElementById('points').dataset.view").split(",")[0])
    browser.pinch("#points", 60)
    browser.wait(f"parseFloat(document.getElementById('points').dataset.view) > {before * 1.3}", "the pinch")
    time.sleep(0.2)
    box = (40, 420, 350, 780)
    expected = inside(browser, ids, x, y, *box)
    lasso(browser, *box, kind="touch")
    if expected:
        browser.wait(f"document.getElementById('chosen').textContent.startsWith('{len(expected):,} ')", "the selection on the phone")
    accessible(browser)
    if shots:
        browser.save(shots / "map-phone.png")


def main(index, place, shots):
    made = place / "map"
    subprocess.run([PROGRAM, "map", index, "-o", made, "-q"], check=True)
    command = [PROGRAM, "serve", index, "--map", made, "--rate", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    browser = Browser(1200, 1000, network=True)
    try:
        browser.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(place))
        link = next(line.split()[1] for line in server.stderr if line.startswith("open"))
        origin = link.split("/?")[0]
        browser.open(link)
        search(browser, place, shots)
        # From the search to the map, and from a point of it back to the search.
        browser.click("#space")
        space(browser, place, made / "points.bin", shots, "served")
        pointer(browser, *[browser.run(FIND)] * 2)
        row = browser.run("return document.getElementById('card').dataset.row")
        browser.click("#more")
        browser.wait(f"{CARDS} > 3", "answers like the point")
        assert browser.run("return document.querySelector('#hits img').src").endswith(f"/{row}/image")
        # A bookmark opens a view: the tile in its middle is the query.
        tile = browser.run_async("const done = arguments[0]; fetch('/api/tiles/0').then((r) => r.json()).then(done)")
        box = tile["bbox"]
        browser.open(f"{origin}/?bbox={box['west']},{box['south']},{box['east']},{box['north']}&date={tile['time'][:10]}")
        browser.wait(f"{CARDS} > 3", "answers of the view")
        assert browser.run("return document.querySelector('#hits img').alt") == tile["tile_id"]
        # The map as a file, which asks nobody.
        browser.open((made / "index.html").as_uri())
        space(browser, place, made / "points.bin", shots, "file")
        on_phone(browser, origin, made / "points.bin", shots)
        elsewhere = [url for url in browser.requested() if not url.startswith((origin, "file:", "data:", "blob:", "chrome:", "about:"))]
        assert not elsewhere, elsewhere
        wrong = [error for error in browser.errors() if "404" not in error]
        assert not wrong, wrong
        print("search page: dropped, refined, filtered, selected, on maps and on a phone")
    finally:
        browser.close()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    needed()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="search-page-"))
    shots = pathlib.Path(sys.argv[3]) if "--screenshots" in sys.argv else None
    try:
        main(pathlib.Path(sys.argv[1]), folder, shots)
    finally:
        shutil.rmtree(folder)
