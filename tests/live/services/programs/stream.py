"""A line server of 50 lines on asyncio: `put ID` adds an id, `all` lists them. MODE says what is wrong with it.

Each of the bad ones is good until a save fails.
"""

import asyncio
import json
import os
import signal
import sys
import threading

MODE, STATE, PORT = os.environ.get("MODE", "good"), "state.json", 8125
items = json.load(open(STATE)) if os.path.exists(STATE) else []
kept = []


def save():
    file = open(STATE + ".new", "w", buffering=1)
    try:
        file.write(json.dumps(items) + "\n")
        os.fsync(file.fileno())
        os.rename(STATE + ".new", STATE)
    except OSError:
        in_trouble(file)
        raise
    finally:
        if MODE != "descriptors":
            file.close()


def in_trouble(file):
    """What each of the bad ones does about an error, each time."""
    if MODE == "descriptors":
        kept.append(file)
    if MODE == "threads":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    if MODE == "dead":
        server.close()
    if MODE in ("hung", "unclean"):
        kept.append(None)


async def served(reader, writer):
    try:
        while line := (await reader.readline()).decode().split():
            if line[0] == "put":
                items.append(line[1])
                try:
                    save()
                    writer.write(b"stored\n")
                except OSError as error:
                    items.pop()
                    print(f"not stored: {error}", file=sys.stderr, flush=True)
                    writer.write(b"refused\n")
            else:
                writer.write(json.dumps(items).encode() + b"\n")
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main():
    global server
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = await asyncio.start_server(served, "127.0.0.1", PORT)
    await told.wait()
    server.close()
    if kept and MODE == "hung":
        await asyncio.get_running_loop().create_future()
    if kept and MODE == "unclean":
        raise KeyError("no such handler")


asyncio.run(main())
