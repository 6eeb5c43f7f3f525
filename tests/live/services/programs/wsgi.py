"""A WSGI application behind the standard library's server: POST /ID keeps an id, GET / lists them.

MODE=swallows: an error while saving is written to the log, and the client is told that all is well.
"""

import json
import os
import signal
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

MODE, STATE, PORT = os.environ.get("MODE", "good"), "items.json", 8127
items = json.load(open(STATE)) if os.path.exists(STATE) else []


def save():
    try:
        with open(STATE + ".new", "w") as file:
            json.dump(items, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(STATE + ".new", STATE)
    except OSError as error:
        print(f"not saved: {error}", file=sys.stderr, flush=True)
        if MODE != "swallows":
            raise


def application(environ, start_response):
    body = b""
    if environ["REQUEST_METHOD"] == "POST":
        items.append(environ["PATH_INFO"][1:])
        try:
            save()
        except OSError:
            items.pop()
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return []
    else:
        body = json.dumps(items).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", PORT, application, handler_class=Quiet)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
