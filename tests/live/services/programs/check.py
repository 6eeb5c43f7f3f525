"""Tells which ids the server has."""

import json
import urllib.request

for one in json.load(urllib.request.urlopen("http://127.0.0.1:8123/", timeout=5)):
    print("have", one)
