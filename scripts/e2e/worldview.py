#!/usr/bin/env python3
"""From NASA Worldview to the search, in a real browser: what its addresses show, the bookmarklet, and the add-on, which is
paired by the link, sends a view, and alone of all foreign origins is answered. Standard library only.

    scripts/e2e/worldview.py INDEX [--screenshots DIR]

INDEX is an index of tiles with places, such as the demo's. Needs chromium and chromedriver; exit code 77 without.
"""

import base64
import hashlib
import http.server
import json
import pathlib
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request

from browser import Browser, needed

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDON = ROOT / "embed-indexer" / "addon"
STATUS = "document.getElementById('status').textContent"
LAYER = "MODIS_Terra_CorrectedReflectance_TrueColor"
# Addresses as Worldview makes them, and what they show: box, layers, day.
ADDRESSES = [
    (f"?v=-20.5,25,-10,32.25&l=Reference_Labels_15m(hidden),Reference_Features_15m(hidden),Coastlines_15m,VIIRS_SNPP_CorrectedReflectance_TrueColor(hidden),{LAYER}&lg=true&t=2020-09-12-T12%3A00%3A00Z",
     [-20.5, 25, -10, 32.25], ["Coastlines_15m", LAYER], "2020-09-12"),
    (f"?v=-20,25,-10,32&l={LAYER}(opacity=0.5,palette=red_1),Coastlines&t=2020-09-12T00:00:00Z&p=geographic",
     [-20, 25, -10, 32], [LAYER, "Coastlines"], "2020-09-12"),
    # Worldview goes round and round; no day is today, and is left open.
    ("?v=170,-10,200,10&l=A,B(hidden,opacity=0.2),C", [170, -10, -160, 10], ["A", "C"], ""),
    ("?v=-300,-120,300,120", [-180, -90, 180, 90], [], ""),
    ("?v=-4194304,-4194304,4194304,4194304&p=arctic", None, None, None),
    ("?q=something", None, None, None),
    ("?v=5,5,4,6", None, None, None),
    ("?v=a,b,c,d", None, None, None),
    ("", None, None, None),
]


def identity():
    """The add-on's id: Chromium makes it of the key in its manifest."""
    key = base64.b64decode(json.loads((ADDON / "manifest.json").read_text())["key"])
    return hashlib.sha256(key).hexdigest()[:32].translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))


def addresses(browser):
    for search, box, layers, day in ADDRESSES:
        found = browser.call("POST", "/execute/async", {"script": """
            const [search, done] = arguments;
            import('/assets/view.js').then(({ viewOf }) => done(viewOf(search)), (error) => done({ error: String(error) }));
        """, "args": [search]})
        if box is None:
            assert found.get("problem"), (search, found)
        else:
            assert found["layers"] == layers and found["date"] == day, (search, found)
            assert all(abs(a - b) < 1e-9 for a, b in zip(found["box"], box)), (search, found)


def bookmarklet(browser, origin, tile):
    browser.open(origin + "/")
    browser.wait("!document.getElementById('elsewhere').hidden", "the bookmarklet")
    code = browser.run("return document.getElementById('bookmarklet').getAttribute('href')")
    assert code.startswith("javascript:") and origin in code, code

    class Blank(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>Worldview</title>")

        def log_message(self, *_):
            pass

    worldview = http.server.HTTPServer(("127.0.0.1", 0), Blank)
    threading.Thread(target=worldview.serve_forever, daemon=True).start()
    try:
        box = tile["bbox"]
        west, south, east, north = box["west"] - 1, box["south"] - 1, box["east"] + 1, box["north"] + 1
        search = f"?v={west},{south},{east},{north}&l=Coastlines_15m,{tile['layer']}(opacity=1)&t={tile['time'][:10]}-T12%3A00%3A00Z"
        browser.open(f"http://127.0.0.1:{worldview.server_port}/{search}")
        browser.run("window.open = (address) => { window.opened = address; };" + code.removeprefix("javascript:"))
        opened = browser.run("return window.opened")
        assert opened.startswith(origin + "/?view="), opened
        browser.open(opened)
        browser.wait("document.querySelectorAll('#hits li').length > 0", "answers of the view")
        values = browser.run("const f = document.getElementById('filters').elements; return [f.layer.value, f.from.value, f.to.value]")
        assert values == [tile["layer"], tile["time"][:10], tile["time"][:10]], values
        assert browser.run("return document.querySelector('#hits img').alt") == tile["tile_id"]
        browser.open(f"{origin}/?view=%3Fp%3Darctic%26v%3D1%2C2%2C3%2C4")
        browser.wait(f"{STATUS}.includes('polar')", "what is wrong with a polar view")
    finally:
        worldview.shutdown()


def foreign(origin, token):
    """What other origins get, with the token and without."""
    def ask(method, headers):
        request = urllib.request.Request(origin + "/api/search?like=0", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.headers
        except urllib.error.HTTPError as error:
            return error.code, error.headers

    own, bearer = {"Origin": f"chrome-extension://{identity()}"}, {"Authorization": f"Bearer {token}"}
    status, headers = ask("GET", own | bearer)
    assert (status, headers["access-control-allow-origin"]) == (200, own["Origin"])
    assert ask("GET", own)[0] == 401
    for other in ("https://evil.example", "chrome-extension://" + "a" * 32, "null"):
        status, headers = ask("OPTIONS", {"Origin": other, "Access-Control-Request-Method": "POST"})
        assert headers["access-control-allow-origin"] is None, other
        assert ask("POST", {"Origin": other} | bearer)[0] == 403, other


def addon(browser, link, token, shots):
    browser.open(f"chrome-extension://{identity()}/popup.html")
    browser.wait("document.getElementById('pair') && !document.getElementById('pair').hidden", "the add-on")
    assert identity() in browser.run("return document.getElementById('flag').textContent")
    pair = "document.getElementById('link').value = arguments[0]; document.getElementById('pair').requestSubmit()"
    browser.run(pair, link.replace(token, "wrong"))
    browser.wait(f"{STATUS}.includes('anew')", "a wrong link refused")
    browser.run(pair, link)
    browser.wait(f"{STATUS}.startsWith('Paired')", "the pair")
    browser.open(f"chrome-extension://{identity()}/popup.html")
    browser.wait("!document.getElementById('ask').hidden", "the pair, kept")
    browser.click("#find")
    browser.wait(f"{STATUS}.includes('NASA Worldview')", "that another tab is no view")
    # A tab that shows a tile in the middle of a page, as Worldview shows its map.
    browser.call("POST", "/execute/async", {"script": """
        const [origin, token, search, done] = arguments;
        (async () => {
          const reply = await fetch(origin + '/api/tiles/3/image', { headers: { authorization: 'Bearer ' + token } });
          const tile = await createImageBitmap(await reply.blob());
          const page = new OffscreenCanvas(tile.width + 200, tile.height + 100);
          const pen = page.getContext('2d');
          pen.fillStyle = '#f0f';
          pen.fillRect(0, 0, page.width, page.height);
          pen.drawImage(tile, 150, 50);
          const reader = new FileReader();
          reader.onload = () => {
            chrome.tabs.query = async () => [{ id: 1, windowId: 1, url: 'https://worldview.earthdata.nasa.gov/' + search }];
            chrome.tabs.captureVisibleTab = async () => reader.result;
            chrome.tabs.create = async ({ url }) => { window.opened = url; };
            chrome.scripting.executeScript = async () => [{ result: { x: 150, y: 50, width: tile.width, height: tile.height, ratio: 1 } }];
            done('ready');
          };
          reader.readAsDataURL(await page.convertToBlob({ type: 'image/png' }));
        })().catch((error) => done(String(error)));
    """, "args": [link.split("/?")[0], token, ADDRESSES[0][0]]})
    browser.click("#find")
    browser.wait("document.querySelectorAll('#hits img').length > 10", "answers in the add-on")
    browser.wait("[...document.querySelectorAll('#hits img')].every((i) => i.naturalWidth > 0)", "their pictures")
    rows = browser.run("return [...document.querySelectorAll('#hits img')].slice(0, 3).map((i) => i.dataset.row)")
    assert "3" in rows, rows
    if shots:
        browser.save(shots / "addon.png")
    browser.click("#open")
    browser.wait("window.opened", "the page of the view")
    assert "/?view=%3Fv%3D-20.5" in browser.run("return window.opened")
    browser.click("#forget")
    browser.wait("!document.getElementById('pair').hidden", "the end of the pair")


def main(index, shots):
    command = [ROOT / "target" / "release" / "embed-indexer", "serve", index, "--rate", "0", "--allow-origin", f"chrome-extension://{identity()}"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    flags = [f"--load-extension={ADDON}", f"--disable-extensions-except={ADDON}", "--disable-features=DisableLoadExtensionCommandLineSwitch"]
    browser = Browser(1000, 900, flags=flags)
    try:
        link = next(line.split()[1] for line in server.stderr if line.startswith("open"))
        origin, token = re.match(r"(.*)/\?token=(\S+)", link).groups()
        browser.open(link)
        browser.wait("document.getElementById('facts').textContent", "the search page")
        addresses(browser)
        tile = browser.run_async("const done = arguments[0]; fetch('/api/tiles/0').then((r) => r.json()).then(done)")
        bookmarklet(browser, origin, tile)
        foreign(origin, token)
        addon(browser, link, token, shots)
        print("worldview: its addresses, the bookmarklet and the add-on")
    finally:
        browser.close()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    needed()
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3]) if "--screenshots" in sys.argv else None)
