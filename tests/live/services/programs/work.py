"""Adds five ids to the server at the port given."""

import sys
import urllib.error
import urllib.request

port = sys.argv[1] if len(sys.argv) > 1 else "8123"
for number in range(5):
    how = "ok"
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/item{number}", data=b"", timeout=5).read()
    except urllib.error.HTTPError:
        how = "fail"
    except OSError:
        how = "info"
    print(how, f"item{number}", flush=True)
