"""A server of 50 lines: POST /ID adds an id, GET / lists them. MODE in the environment says what is wrong with it."""

import http.server
import json
import os
import signal
import sys
import threading

MODE, STATE, PORT = os.environ.get("MODE", "good"), "state.json", 8123
items = json.load(open(STATE)) if os.path.exists(STATE) else []


def save():
    if MODE == "in-place":
        with open(STATE, "w") as file:
            json.dump(items, file)
        return
    with open(STATE + ".new", "w") as file:
        json.dump(items, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(STATE + ".new", STATE)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, json.dumps(items).encode())

    def do_POST(self):
        items.append(self.path[1:])
        try:
            if MODE != "late":
                save()
        except OSError as error:
            items.pop()
            print(f"not stored: {error}", file=sys.stderr, flush=True)
            return self.answer(500)
        self.answer(200)


def stop(*_):
    if MODE == "unclean":
        raise KeyError("no such handler")
    if MODE == "hung" and os.path.exists("trouble"):
        return
    threading.Thread(target=server.shutdown).start()


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
signal.signal(signal.SIGTERM, stop)
server.serve_forever()
if MODE == "late":
    save()
