#!/usr/bin/env python3
"""The labelling page as people see it: the time from key press to the next picture, screenshots, and what
Lighthouse says. Standard library only.

    scripts/e2e/labelling_looks.py pace
    scripts/e2e/labelling_looks.py screenshots FOLDER [--tiles DIR]
    scripts/e2e/labelling_looks.py lighthouse LIGHTHOUSE        (a folder with `npm install lighthouse`)

Needs chromium and chromedriver; `scripts/setup.sh --test` installs them. Exit code 77 when they are absent.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from browser import Browser, needed
from labelling import READY, Server, enter, make_tiles


BLANK = "data:text/html,<body style='background:teal'><script>addEventListener('keydown', () => { document.body.style.background = document.body.style.background === 'teal' ? 'navy' : 'teal'; })</script>"
WARM, PRESSES = 15, 40


def times_to_paint(browser: Browser, ready: str) -> tuple:
    """From key press to the frame that shows what it did, and the part of it that the page itself computes, in
    milliseconds, sorted: the browser's own Event Timing, in steps of 8 ms. And the layout shift meanwhile."""
    for i in range(WARM):
        browser.wait(ready, "a picture")
        browser.press("ax"[i % 2])
        time.sleep(0.15)
    browser.run("window.seen = []; new PerformanceObserver((l) => { for (const e of l.getEntries()) if (e.name === 'keydown') seen.push([e.duration, e.processingEnd - e.processingStart]); })"
                ".observe({ type: 'event', durationThreshold: 16, buffered: false });"
                "window.shift = 0; new PerformanceObserver((l) => { for (const e of l.getEntries()) shift += e.value; }).observe({ type: 'layout-shift', buffered: true })")
    for i in range(PRESSES):
        browser.wait(ready, "a picture")
        browser.press("ax"[i % 2])
        time.sleep(0.15)
    time.sleep(1)
    seen = browser.run("return window.seen")
    missing = PRESSES - len(seen)  # what took less than 16 ms is not reported
    painted = sorted([8] * missing + [duration for duration, _ in seen])
    return painted, sorted([0] * missing + [computed for _, computed in seen]), browser.run("return window.shift")


def pace(server: Server) -> None:
    """On a phone-sized page, and beside it a page that does no more than change its colour: faster than that no
    page can be."""
    for slow in (1, 6):
        browser = Browser(500, 900)
        try:
            browser.phone(slow=slow)
            browser.open(BLANK)
            floor, _, _ = times_to_paint(browser, "true")
            browser.open(server.link)
            enter(browser, f"Pace {slow}")
            painted, computed, shift = times_to_paint(browser, READY)
            half, most = PRESSES // 2, PRESSES * 95 // 100
            print(f"processor {slow} times slower: next picture {painted[half]:.0f} ms (median), {painted[most]:.0f} ms (p95), of these "
                  f"{computed[half]:.1f} and {computed[most]:.1f} ms computed by the page; a page that changes its colour "
                  f"{floor[half]:.0f} and {floor[most]:.0f} ms; layout shift {shift:.4f}")
        finally:
            browser.close()


def screenshots(server: Server, folder: pathlib.Path) -> None:
    def ready(browser: Browser, name: str) -> None:
        browser.open(server.link)
        enter(browser, name)
        time.sleep(0.8)

    for name, dark in (("desktop", False), ("desktop-dark", True)):
        browser = Browser(1100, 860, dark)
        ready(browser, "Ann")
        browser.save(folder / f"{name}.png")
        if not dark:
            browser.press("g")
            browser.wait("document.querySelectorAll('#grid .cell img').length > 3", "the grid")
            browser.click("#grid .cell:nth-child(2)")
            browser.click("#grid .cell:nth-child(7)")
            time.sleep(0.8)
            browser.save(folder / "grid.png")
            browser.press("g", "?")
            time.sleep(0.3)
            browser.save(folder / "help.png")
            browser.open(server.base + "/owner")
            time.sleep(1)
            browser.save(folder / "owner.png")
        browser.close()
    browser = Browser(500, 900, True)
    browser.phone()
    ready(browser, "Bob")
    browser.save(folder / "phone.png")
    x, y = browser.middle(".card.top")
    held = [{"type": "pointerMove", "x": x, "y": y, "duration": 0}, {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": x + 90, "y": y - 10, "duration": 200}]
    browser.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "f", "parameters": {"pointerType": "touch"}, "actions": held}]})
    browser.save(folder / "phone-swipe.png")
    browser.call("DELETE", "/actions")
    browser.press("g")
    time.sleep(1)
    browser.save(folder / "phone-grid.png")
    browser.close()


def lighthouse(server: Server, folder: pathlib.Path, place: pathlib.Path) -> None:
    """Scores of the page for a phone, by Lighthouse in the browser that is installed."""
    report = place / "lighthouse.json"
    environment = {**os.environ, "CHROME_PATH": shutil.which("chromium") or shutil.which("google-chrome") or ""}
    subprocess.run([folder / "node_modules" / ".bin" / "lighthouse", server.link, "--quiet", "--output=json", f"--output-path={report}",
                    "--only-categories=performance,accessibility,best-practices", "--chrome-flags=--headless=new --no-sandbox --disable-gpu"],
                   env=environment, check=True, timeout=300)
    found = json.loads(report.read_text())
    for category in found["categories"].values():
        print(f"{category['title']}: {100 * (category['score'] or 0):.0f}")
        for audit in category["auditRefs"]:
            result = found["audits"][audit["id"]]
            if audit["weight"] and result["score"] is not None and result["score"] < 0.9:
                print(f"  {audit['id']}: {result['score']:.2f} {result.get('displayValue', '')}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["pace", "screenshots", "lighthouse"])
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    parser.add_argument("--tiles", type=pathlib.Path, help="pictures to show")
    options = parser.parse_args()
    needed()
    place = pathlib.Path(tempfile.mkdtemp())
    server = Server(options.tiles or make_tiles(place, 200), place / "labels", "--order", "random", "--seed", "24")
    try:
        if options.what == "pace":
            pace(server)
        elif options.what == "screenshots":
            screenshots(server, options.folder)
        else:
            lighthouse(server, options.folder, place)
    finally:
        server.process.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    main()
