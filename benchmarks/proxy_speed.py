"""How fast the fault proxy is beside the bare loopback, in one run: bulk, ping-pong, memory, the accuracy of latency.

    python benchmarks/proxy_speed.py [--seconds 3] [--connections 9000] [--toxiproxy PATH-TO-toxiproxy-server]

Each end is a process of its own, and so is the proxy. With the path of Toxiproxy's server its figures stand in the same
table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

CHUNK = bytes(2**20)


def serve(ready: multiprocessing.connection.Connection) -> None:
    """A server that eats what begins with `b` and echoes all else."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(2**16):
                writer.write(data)
        except OSError:
            pass
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=4096)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    raise_limit()
    asyncio.run(run())


def eat(ready: multiprocessing.connection.Connection) -> None:
    """A server that counts bytes, one thread a connection, with as little work as Python allows."""
    import threading

    def swallow(sock: socket.socket) -> None:
        room = memoryview(bytearray(2**20))
        while sock.recv_into(room):
            pass
        sock.close()

    server = socket.create_server(("127.0.0.1", 0), backlog=256)
    ready.send(server.getsockname()[1])
    while True:
        threading.Thread(target=swallow, args=(server.accept()[0],), daemon=True).start()


def raise_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def beside(work: object) -> tuple[multiprocessing.Process, int]:
    """A server in a process of its own, and its port."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(there,), daemon=True)  # type: ignore[arg-type]
    process.start()
    return process, here.recv()


def bulk(port: int, count: int, seconds: float) -> float:
    """GB/s through so many connections at once."""
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    began, sent = time.perf_counter(), 0
    if count == 1:
        while time.perf_counter() - began < seconds:
            sent += socks[0].send(CHUNK)
    else:
        import selectors

        with selectors.DefaultSelector() as ready:
            for sock in socks:
                sock.setblocking(False)
                ready.register(sock, selectors.EVENT_WRITE)
            while time.perf_counter() - began < seconds:
                for key, _ in ready.select():
                    sent += key.fileobj.send(CHUNK)  # type: ignore[union-attr]
    took = time.perf_counter() - began
    for sock in socks:
        sock.close()
    return sent / took / 1e9


def ping(port: int, seconds: float) -> tuple[float, float]:
    """Microseconds of 64 bytes there and back on one connection: p50 and p99."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = []
        due = time.perf_counter() + seconds
        while (began := time.perf_counter()) < due:
            sock.sendall(bytes(64))
            sock.recv(64)
            took.append(time.perf_counter() - began)
    took.sort()
    return took[len(took) // 2] * 1e6, took[len(took) * 99 // 100] * 1e6


async def talks(port: int, count: int, seconds: float, rate: int) -> list[float]:
    """Milliseconds there and back of messages at a rate a second over so many connections."""
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    took: list[float] = []

    async def one(number: int) -> None:
        reader, writer = pairs[number]
        await asyncio.sleep(number / count * (count / rate))
        due = time.perf_counter() + seconds
        while time.perf_counter() < due:
            began = time.perf_counter()
            writer.write(bytes(64))
            await reader.readexactly(64)
            took.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(max(count / rate - (time.perf_counter() - began), 0))

    await asyncio.gather(*(one(number) for number in range(count)))
    for _, writer in pairs:
        writer.close()
    return sorted(took)


class Server:
    """A server of the API at work: ours, or Toxiproxy's."""

    def __init__(self, command: list[str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.ask("GET", "/version")
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{command[0]} does not answer")

    def ask(self, method: str, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def proxy(self, name: str, port: int) -> int:
        """The port of a new proxy."""
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{port}"}
        made = self.ask("POST", "/proxies", body)
        return int(made["listen"].rpartition(":")[2])  # type: ignore[index]

    def memory_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6


def measure(name: str, server: Server | None, ends: tuple[int, int], options: argparse.Namespace) -> None:
    eating, echoing = ends
    through = ends if server is None else (server.proxy("eat", eating), server.proxy("echo", echoing))
    one, many = bulk(through[0], 1, options.seconds), bulk(through[0], 64, options.seconds)
    p50, p99 = ping(through[1], options.seconds)
    print(f"| {name} | {one:.2f} | {many:.2f} | {p50:.0f} | {p99:.0f} |", flush=True)


def accuracy(name: str, server: Server, echoing: int, options: argparse.Namespace) -> None:
    port = server.proxy("late", echoing)
    for jitter in (0, 10):
        toxic = {"type": "latency", "attributes": {"latency": 100, "jitter": jitter}}
        server.ask("POST", "/proxies/late/toxics", toxic)
        took = asyncio.run(talks(port, 1000, 2 * options.seconds, 2000))
        server.ask("DELETE", "/proxies/late/toxics/latency_downstream")
        at = [took[min(int(len(took) * share), len(took) - 1)] for share in (0.01, 0.5, 0.99)]
        print(f"| {name} | 100 ± {jitter} | {at[0]:.2f} | {statistics.mean(took):.2f} | {at[1]:.2f} | {at[2]:.2f} |")


async def crowd(port: int, count: int) -> list[socket.socket]:
    """So many connections, each of which has had one echo."""
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(200)

    async def one() -> socket.socket:
        async with room:
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, b"x")
            assert await loop.sock_recv(sock, 1) == b"x"
            return sock

    return await asyncio.gather(*(one() for _ in range(count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=9000)
    parser.add_argument("--toxiproxy", default="")
    options = parser.parse_args()
    raise_limit()
    (_, eating), (_, echoing) = beside(eat), beside(serve)
    servers = {"blackstart": Server([sys.executable, "-m", "blackstart", "proxy", "--seed", "1", "--port"])}
    if options.toxiproxy:
        servers["Toxiproxy"] = Server([options.toxiproxy, "-port"])
    print("| through | 1 connection, GB/s | 64, GB/s | 64 B there and back, p50 µs | p99 µs |\n|---|---|---|---|---|")
    measure("nothing", None, (eating, echoing), options)
    for name, server in servers.items():
        measure(name, server, (eating, echoing), options)
    print("\n| through | latency, ms | p1 | mean | p50 | p99 |\n|---|---|---|---|---|---|")
    for name, server in servers.items():
        accuracy(name, server, echoing, options)
    print(f"\n| through | memory, MB | with {options.connections} connections |\n|---|---|---|")
    for name, server in servers.items():
        before = server.memory_mb()
        socks = asyncio.run(crowd(server.proxy("crowd", echoing), options.connections))
        print(f"| {name} | {before:.0f} | {server.memory_mb():.0f} |")
        for sock in socks:
            sock.close()
        server.process.terminate()
        server.process.wait(10)


if __name__ == "__main__":
    main()
