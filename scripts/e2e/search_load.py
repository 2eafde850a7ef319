#!/usr/bin/env python3
"""Fifty clients search at once: every answer is right or a polite refusal, and memory stays flat. Ends by itself.
Standard library only.

    scripts/e2e/search_load.py INDEX [--requests 40]
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
    requests = int(sys.argv[3]) if "--requests" in sys.argv else 40
    command = [ROOT / "target" / "release" / "embed-indexer", "serve", sys.argv[1], "--rate", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        link = next(line.split()[1] for line in server.stderr if line.startswith("open"))
        port, token = re.search(r":(\d+)/\?token=(\S+)", link).groups()

        def get(connection, path, headers):
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply, reply.read()

        def memory():
            status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
            return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024

        first = http.client.HTTPConnection("127.0.0.1", int(port))
        reply, _ = get(first, f"/?token={token}", {})
        cookie = {"cookie": reply.getheader("set-cookie").split(";")[0]}
        rows = json.loads(get(first, "/api/index", cookie)[1])["rows"]
        wrong, answered, refused = [], [0], [0]
        lock = threading.Lock()

        def client(number):
            own = http.client.HTTPConnection("127.0.0.1", int(port))
            for i in range(requests):
                row = (number * 7919 + i * 104729) % rows
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
