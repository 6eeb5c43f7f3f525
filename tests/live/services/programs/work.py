"""Adds five ids to the server."""

import urllib.error
import urllib.request

for number in range(5):
    how = "ok"
    try:
        urllib.request.urlopen(f"http://127.0.0.1:8123/item{number}", data=b"", timeout=5).read()
    except urllib.error.HTTPError:
        how = "fail"
    except OSError:
        how = "info"
    print(how, f"item{number}", flush=True)
