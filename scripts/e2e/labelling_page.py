#!/usr/bin/env python3
"""Labels in a real browser: keys, buttons, swipes, zoom, grid, undo, looking back, offline, two people, classes,
surroundings and other dates of a tile, the owner's page, a killed server, and accessibility. Standard library only.

    scripts/e2e/labelling_page.py

Needs chromium and chromedriver; `scripts/setup.sh --test` installs them. Exit code 77 when they are absent.
"""

import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

from browser import Browser, needed
from labelling import PROGRAMS, READY, Server, enter, expect, make_tiles, query

ROOT = pathlib.Path(__file__).resolve().parents[2]
AXE = ROOT / ".deps" / "axe" / "node_modules" / "axe-core" / "axe.min.js"



def judging(server: Server, browser: Browser) -> None:
    browser.open(server.link)
    assert "token" not in browser.run("return location.href"), "the token stays in the address"
    assert browser.run("return document.cookie") == "", "the cookie can be read by scripts"
    enter(browser, "Ann")
    labels = server.labels
    browser.press("right")
    browser.press("x")
    browser.press("down")
    said = ["positive", "negative", "unsure"]
    expect(labels, said)
    browser.press("backspace")
    expect(labels, said[:2])
    browser.click("#buttons .yes")
    said = ["positive", "negative", "positive"]
    expect(labels, said)
    browser.swipe(-220)
    browser.swipe(10, 200)
    said += ["negative", "unsure"]
    expect(labels, said)
    browser.swipe(30)  # too short: the card springs back
    browser.swipe(90, milliseconds=60)  # short but quick
    said += ["positive"]
    expect(labels, said)
    browser.wait("document.getElementById('counts').textContent.startsWith('6 of')", "the count")
    # Flagged, by key and by swiping up: the card stays.
    browser.press("f")
    browser.press("a")
    expect(labels, [0] * 6 + [1], "flag")
    tile = browser.run("return document.querySelector('.card.top img').alt")
    browser.swipe(0, -200)
    browser.wait("document.querySelector('.card.top').classList.contains('flagged')", "the flag")
    assert browser.run("return document.querySelector('.card.top img').alt") == tile
    browser.swipe(0, -200)
    # Looking back judges nothing; any of the last answers can be taken back.
    before = query(labels, "key")
    browser.press(",", ",")
    browser.wait("!document.getElementById('past').hidden && document.getElementById('past-said').textContent.startsWith('yes')", "the answer before")
    assert query(labels, "key") == before
    browser.press("escape")
    browser.press("h")
    browser.wait("document.querySelectorAll('#history-list img').length === 7", "the last answers")
    browser.click("#history-list li:nth-child(6) button")  # the second that was given
    browser.wait("document.querySelector('.card.top img').alt.endsWith('tile 001.png')", "its picture")
    browser.press("a")
    expect(labels, ["positive", "positive", "negative", "unsure", "positive", "positive", "positive"])
    # Zoom and light.
    browser.press("z")
    browser.wait("document.querySelector('.card.top img').style.transform.includes('scale(3)')", "the closer look")
    browser.press("z")
    browser.pinch(".card.top", 60)
    browser.wait("parseFloat(document.querySelector('.card.top img').style.transform.split('scale(')[1]) > 1.5", "a pinch")
    browser.swipe(-200)
    assert len(query(labels, "key")) == 7, "a close picture is moved, not judged"
    browser.press("z", "b", "c")
    browser.wait("getComputedStyle(document.querySelector('.card.top img')).filter.includes('110%') || getComputedStyle(document.querySelector('.card.top img')).filter.includes('1.1')", "more light")
    browser.press("r")


def restart(server: Server, browser: Browser, tiles: pathlib.Path) -> Server:
    """Whatever happens to the server, what was acknowledged is there, and answers find their way later."""
    port = server.base.rsplit(":", 1)[1]
    before = query(server.labels, "key")
    browser.wait("navigator.serviceWorker.controller !== null", "the page's worker")
    time.sleep(0.5)
    server.kill()
    browser.press("a", "x")
    browser.wait("!document.getElementById('trouble').hidden", "the notice")
    assert browser.run("return Object.keys(localStorage).filter((k) => k.startsWith('curator-answer-')).length") == 2
    # The page itself is there without its server, and the answers with it.
    browser.open(server.base + "/")
    browser.wait("document.getElementById('caption') !== null", "the page without its server")
    assert browser.run("return Object.keys(localStorage).filter((k) => k.startsWith('curator-answer-')).length") == 2
    server = Server(tiles, server.labels, "--port", port)
    for _ in range(200):
        if len(query(server.labels, "key")) == len(before) + 2:
            break
        time.sleep(0.1)
    assert query(server.labels, "key")[:len(before)] == before
    assert query(server.labels, "label")[-2:] == ["positive", "negative"]
    browser.wait("document.getElementById('trouble').hidden", "the end of the notice")
    return server


def offline(server: Server, browser: Browser) -> None:
    before = len(query(server.labels, "key"))
    browser.wait("document.querySelectorAll('.card:not(.gone)').length === 3 && [...document.querySelectorAll('.card img')].every((i) => i.naturalWidth > 0)", "pictures in hand")
    browser.offline(True)
    browser.press("a")
    browser.press("x")
    browser.press("a")
    browser.wait("!document.getElementById('trouble').hidden && document.getElementById('trouble').textContent.includes('kept')", "the notice")
    # The page itself is there without a connection, and the answers with it.
    kept = "return Object.keys(localStorage).filter((k) => k.startsWith('curator-answer-')).length"
    assert browser.run(kept) == 3, f"{browser.run(kept)} answers are kept"
    assert len(query(server.labels, "key")) == before
    browser.offline(False)
    browser.open(server.base + "/")
    browser.wait(READY, "a picture after the connection is back")
    for _ in range(100):
        if len(query(server.labels, "key")) == before + 3:
            break
        time.sleep(0.1)
    keys = query(server.labels, "key")
    assert len(keys) == before + 3 and len(set(keys)) == len(keys), "each was sent once"
    assert query(server.labels, "label")[-3:] == ["positive", "negative", "positive"]


def grid(server: Server, browser: Browser) -> None:
    before = len(query(server.labels, "key"))
    browser.press("g")
    browser.wait("document.querySelectorAll('#grid .cell img').length > 3", "the grid")
    cells = browser.run("return document.querySelectorAll('#grid .cell').length")
    names = browser.run("return [...document.querySelectorAll('#grid .cell img')].map((i) => i.alt)")
    browser.click("#grid .cell:nth-child(2)")
    browser.run("document.querySelector('#grid .cell').focus()")
    browser.press("right", "right")
    assert browser.run("return [...document.querySelectorAll('#grid .cell')].indexOf(document.activeElement)") == 2
    browser.press("enter")  # on a cell: tapped
    browser.press("g")
    browser.press("g")
    browser.wait("document.querySelectorAll('#grid .cell img').length > 3", "the grid again")
    browser.click("#grid .cell:nth-child(2)")
    browser.click("#grid .cell:nth-child(3)")
    browser.click("#grid-send")
    for _ in range(100):
        if len(query(server.labels, "key")) >= before + cells:
            break
        time.sleep(0.1)
    said = dict(query(server.labels, "tile_id, label"))
    for i, name in enumerate(names):
        assert said[name] == ("positive" if i in (1, 2) else "negative"), (i, name, said[name])
    browser.press("g")
    browser.wait("!document.body.classList.contains('gridded')", "one at a time")


def two_people(server: Server, first: Browser, width: int) -> None:
    """Another browser, another person, through a link for labellers; no picture is with both."""
    second = Browser(width, 900)
    try:
        second.open(server.link_for("labeller"))
        enter(second, "Bob")
        shown = "return document.querySelector('.card.top img').alt"
        for _ in range(4):
            first.wait(READY, "a picture for Ann")
            second.wait(READY, "a picture for Bob")
            assert first.run(shown) != second.run(shown)
            first.press("a")
            second.press("x")
        assert second.run("return document.getElementById('finish').hidden"), "only the owner finishes"
        # Two tabs of one person are apart as well.
        handle = second.call("POST", "/window/new", {"type": "tab"})["handle"]
        mine = second.run(shown)
        second.call("POST", "/window", {"handle": handle})
        second.open(server.base + "/")
        second.wait(READY, "a picture in another tab")
        assert second.run(shown) not in (mine, first.run(shown)), "two tabs show the same picture"
        time.sleep(0.5)
        store = sqlite3.connect(f"file:{server.labels / 'labels.sqlite'}?mode=ro", uri=True)
        twice = store.execute("SELECT count(*) FROM (SELECT tile_id FROM events e WHERE kind = 'answer' AND NOT EXISTS "
                              "(SELECT 1 FROM events u WHERE u.undoes = e.seq) GROUP BY tile_id HAVING count(DISTINCT who) > 1)").fetchone()[0]
        store.close()
        assert twice == 0, f"{twice} pictures were judged by both"
    finally:
        second.close()


def owner(server: Server, browser: Browser) -> None:
    browser.open(server.base + "/owner")
    browser.wait("document.querySelectorAll('#people tr').length === 2", "the two people")
    browser.wait("document.querySelectorAll('#links tr').length > 1", "the links")
    browser.wait("document.querySelectorAll('#flagged article').length === 1", "what was flagged")
    browser.run("document.querySelector('#flagged .negative').click()")
    browser.wait("document.querySelector('#flagged article .quiet').textContent === 'holds: negative'", "the decision")
    browser.open(server.base + "/")
    browser.wait(READY, "the page again")


def surroundings(place: pathlib.Path) -> None:
    """Tiles with a place: what lies around them, and the same place at other dates."""
    tiles = place / "placed"
    subprocess.run([PROGRAMS / "labelling-tiles", tiles, "--count", "48"], check=True)
    server = Server(tiles, place / "placed-labels")
    browser = Browser(1000, 900)
    try:
        browser.open(server.link)
        enter(browser, "Ann")
        browser.wait("!document.getElementById('around').disabled && !document.getElementById('times').disabled", "the buttons")
        browser.press("n")
        browser.wait("document.getElementById('context').open && document.querySelectorAll('.nine img').length > 3", "what is around")
        browser.wait("[...document.querySelectorAll('.nine img')].every((i) => i.naturalWidth > 0)", "the pictures around")
        assert browser.run("return document.querySelectorAll('.nine > *').length") == 9
        accessible(browser, "what is around a tile")
        browser.run("document.getElementById('context').close()")
        browser.press("t")
        browser.wait("document.querySelectorAll('.times img').length === 4", "the other dates")
        dates = browser.run("return [...document.querySelectorAll('.times figcaption')].map((c) => c.textContent)")
        assert dates == sorted(dates) and len(set(dates)) == 4, dates
        assert browser.run("return document.querySelectorAll('.times .here').length") == 1
        browser.run("document.getElementById('context').close()")
        browser.press("a")
        expect(server.labels, ["positive"])
    finally:
        browser.close()
        server.kill()


def unreadable(place: pathlib.Path) -> None:
    """To the end: pictures that cannot be shown say so, are skipped and reported."""
    server = Server(make_tiles(place / "unreadable", 3, broken=2), place / "unreadable-labels")
    browser = Browser(1000, 900)
    try:
        browser.open(server.link)
        enter(browser, "Ann")
        for _ in range(100):
            if browser.run("return document.getElementById('wait').hidden === false"):
                break
            if browser.run("return document.querySelector('.card.top .broken') !== null"):
                browser.press("a")  # does nothing: it was not seen
                browser.press("s")
            elif browser.run(f"return {READY}"):
                browser.press("x")
            time.sleep(0.05)
        else:
            raise AssertionError("there is no end")
        expect(server.labels, ["answer"] * 3 + ["skip"] * 2, "kind")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait() == 3, "what could not be shown is in the exit code"
    finally:
        browser.close()
        server.process.kill()


def classes(place: pathlib.Path) -> None:
    server = Server(make_tiles(place / "classes", 20), place / "classes-labels", "--classes", "beach,river")
    browser = Browser(1000, 900)
    try:
        browser.open(server.link)
        browser.wait("document.getElementById('hello')?.open", "the question for a name")
        told = browser.run("return document.getElementById('hello-how').textContent")
        assert "number key" in told and "yes" not in told, told
        enter(browser, "Ann")
        browser.press("?")
        told = browser.run("return [...document.querySelectorAll('#help dd')].filter((d) => !d.hidden).map((d) => d.textContent)")
        assert told[:2] == ["beach, river", "none of these"], told
        browser.press("escape")
        browser.press("1")
        browser.press("2")
        browser.press("9")  # there is no such class
        browser.press("left")
        browser.run("document.querySelectorAll('#buttons button')[1].click()")
        expect(server.labels, ["positive/beach", "positive/river", "negative/", "positive/river"], "label || '/' || class")
    finally:
        browser.close()
        server.kill()


def accessible(browser: Browser, where: str) -> None:
    """No finding of axe-core that it calls serious or critical."""
    if not AXE.is_file():
        print("skipped: axe-core; `scripts/setup.sh --test` brings it where npm is")
        return
    browser.run(AXE.read_text())
    found = browser.run_async("const done = arguments[arguments.length - 1]; axe.run({ resultTypes: ['violations'] })"
                              ".then((r) => done(r.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.target.join(' ') + ': ' + n.failureSummary).join('; ')])))")
    serious = [v for v in found if v[0] in ("serious", "critical")]
    assert not serious, f"{where}: {serious}"
    print(f"axe, {where}: {len(found)} minor findings {[v[1] for v in found]}" if found else f"axe, {where}: no finding")


def main() -> None:
    needed()
    place = pathlib.Path(tempfile.mkdtemp())
    servers, browser = [], None
    try:
        tiles = make_tiles(place, 120, broken=2)
        server = Server(tiles, place / "labels")
        servers.append(server)
        browser = Browser(1100, 900)
        judging(server, browser)
        accessible(browser, "the labelling page")
        browser.press("?")
        accessible(browser, "the help")
        browser.run("document.getElementById('help').close()")
        server = restart(server, browser, tiles)
        servers.append(server)
        offline(server, browser)
        browser.press("g")
        browser.wait("document.querySelectorAll('#grid .cell img').length > 3", "the grid")
        accessible(browser, "the grid")
        browser.press("g")
        grid(server, browser)
        two_people(server, browser, 500)
        owner(server, browser)
        browser.open(server.base + "/owner")
        browser.wait("document.querySelectorAll('#people tr').length > 0", "the owner's page")
        accessible(browser, "the owner's page")
        browser.open(server.base + "/")
        browser.wait(f"{READY} || !document.getElementById('wait').hidden", "the page again")
        expected = ("Failed to load resource", "net::ERR", "Service Worker", "401", "422")
        surprising = [e for e in browser.errors() if not any(part in e for part in expected)]
        assert not surprising, surprising
        classes(place)
        surroundings(place)
        unreadable(place)
        print("labelling page: keys, buttons, swipes, zoom, grid, undo, offline, two people, classes, owner and restart work in a real browser")
    finally:
        if browser:
            browser.close()
        for server in servers:
            server.process.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    main()
