"""A server of 50 lines: POST /ID adds an id, GET / lists them. MODE in the environment says what is wrong with it."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

MODE, STATE, PORT = os.environ.get("MODE", "good"), "state.json", 8123
items = json.load(open(STATE)) if os.path.exists(STATE) else []
trouble = []


def save():
    if MODE == "in-place":
        with open(STATE, "w") as file:
            json.dump(items, file)
        return
    with open(STATE + ".new", "w") as file:
        json.dump(items, file)
        file.flush()
        if MODE != "unsynced":
            os.fsync(file.fileno())
    os.rename(STATE + ".new", STATE)
    if MODE == "durable":
        os.fsync(os.open(".", os.O_RDONLY))


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
            in_trouble()
            return self.answer(500)
        self.answer(200)


def in_trouble():
    """What each of the bad ones does about the first error."""
    if not trouble:
        if MODE == "leaked":
            subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if MODE == "dead":
            threading.Thread(target=server.shutdown).start()
    trouble.append(True)


def stop(*_):
    if MODE == "unclean" and trouble:
        raise KeyError("no such handler")
    if MODE == "hung" and trouble:
        never = threading.Lock()
        never.acquire()
        never.acquire()
    if MODE == "dead" and trouble:
        os._exit(0)
    threading.Thread(target=server.shutdown).start()


class Server(http.server.ThreadingHTTPServer):
    def process_request(self, request, address):
        super().process_request(request, address)
        until = time.monotonic() + (0.1 if MODE == "unclean" and trouble else 0)
        while time.monotonic() < until:
            pass  # busy after the answer: an exception out of a signal's handler is caught here, as any in a request


server = Server(("127.0.0.1", PORT), Handler)
signal.signal(signal.SIGTERM, stop)
server.serve_forever()
if MODE == "dead" and trouble:
    server.server_close()
    while True:
        signal.pause()
if MODE == "late":
    save()
