#!/usr/bin/env python3
"""Fifty clients search at once, by rows and by pictures, and look at tiles: every answer is right or a polite refusal,
and memory stays flat. Ends by itself. Standard library only.

    scripts/e2e/search_load.py INDEX [--requests 25]
"""

import http.client
import json
import pathlib
import re
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = 50


def main():
    requests = int(sys.argv[3]) if "--requests" in sys.argv else 25
    command = [ROOT / "target" / "release" / "embed-indexer", "serve", sys.argv[1], "--rate", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        link = next(line.split()[1] for line in server.stderr if line.startswith("open"))
        port, token = re.search(r":(\d+)/\?token=(\S+)", link).groups()

        def get(connection, path, headers, body=None):
            connection.request("POST" if body else "GET", path, body, headers)
            reply = connection.getresponse()
            return reply, reply.read()

        def memory():
            status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
            return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024

        first = http.client.HTTPConnection("127.0.0.1", int(port))
        reply, _ = get(first, f"/?token={token}", {})
        cookie = {"cookie": reply.getheader("set-cookie").split(";")[0]}
        rows = json.loads(get(first, "/api/index", cookie)[1])["rows"]
        kind = json.loads(get(first, "/api/index", cookie)[1])
        pictures = [get(first, f"/api/tiles/{row * 31 % rows}/image", cookie)[1] for row in range(8)] if kind["pictures"] else []
        wrong, answered, refused = [], [0], [0]
        lock = threading.Lock()

        def client(number):
            own = http.client.HTTPConnection("127.0.0.1", int(port))
            for i in range(requests):
                row = (number * 7919 + i * 104729) % rows
                if i % 8 == 3 and pictures:
                    row = i % len(pictures) * 31 % rows
                    reply, body = get(own, "/api/search?k=10", cookie, pictures[i % len(pictures)])
                elif i % 8 == 5:
                    reply, body = get(own, f"/api/tiles/{row}", cookie)
                    body = json.dumps({"hits": [json.loads(body)]}) if reply.status == 200 else body
                else:
                    reply, body = get(own, f"/api/search?like={row}&k=10", cookie)
                with lock:
                    if reply.status == 200:
                        answered[0] += 1
                        if row not in [hit["row"] for hit in json.loads(body)["hits"]]:
                            wrong.append(f"row {row} does not find itself")
                    elif reply.status == 503 and reply.getheader("retry-after"):
                        refused[0] += 1
                    else:
                        wrong.append(f"{reply.status} {body[:100]}")

        def round():
            clients = [threading.Thread(target=client, args=[n]) for n in range(CLIENTS)]
            [c.start() for c in clients]
            [c.join() for c in clients]
            return memory()

        before, after = round(), round()
        assert not wrong, wrong[:5]
        assert answered[0] > CLIENTS * requests, (answered, refused)
        assert after < before + 32, f"memory grew from {before:.0f} to {after:.0f} MB"
        print(f"load: {answered[0]} answers, {refused[0]} told to come back, {before:.0f} and {after:.0f} MB")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
