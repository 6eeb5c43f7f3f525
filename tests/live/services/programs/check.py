"""Tells which ids the server at the port given has."""

import json
import sys
import urllib.request

port = sys.argv[1] if len(sys.argv) > 1 else "8123"
for one in json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)):
    print("have", one)
