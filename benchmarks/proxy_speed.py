"""How fast the fault proxy is beside the bare loopback, in one run: bulk, ping-pong, memory, the accuracy of latency.

    python benchmarks/proxy_speed.py [--seconds 3] [--connections 9000] [--alone] [--toxiproxy PATH-TO-toxiproxy-server]

Each end is a process of its own, and so is the proxy. For the accuracy of latency the proxy has another processor than
both ends; --alone (as root) gives all three real-time priority, or a busy machine is measured instead. With the path of
Toxiproxy's server its figures stand in the same table.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import resource
import select
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


def answer(ready: multiprocessing.connection.Connection) -> None:
    """An echo of many connections with as little work of its own as Python allows."""
    raise_limit()
    server = socket.create_server(("127.0.0.1", 0), backlog=4096)
    server.setblocking(False)
    ready.send(server.getsockname()[1])
    clients: dict[int, socket.socket] = {}
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    gc.freeze()
    while True:
        for number, _ in poll.poll():
            if number == server.fileno():
                client, _ = server.accept()
                client.setblocking(False)
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
            elif data := clients[number].recv(2**16):
                clients[number].send(data)
            else:
                poll.unregister(number)
                clients.pop(number).close()


def talks(port: int, count: int, seconds: float, rate: int) -> list[float]:
    """Milliseconds there and back of messages at a rate a second over so many connections, one of each at a time."""
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    by_number = {sock.fileno(): sock for sock in socks}
    poll = select.epoll()
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(sock, select.EPOLLIN)
    time.sleep(1)  # till the proxy has dialled them all
    took: list[float] = []
    sent: dict[int, float] = {}
    began, asked = time.perf_counter(), 0
    gc.disable()
    while (now := time.perf_counter()) < began + seconds or sent:
        while asked < min(now - began, seconds) * rate:
            sock = socks[asked % count]
            asked += 1
            if sock.fileno() not in sent:
                sent[sock.fileno()] = time.perf_counter()
                sock.send(bytes(64))
        for number, _ in poll.poll(0.001):
            took.append((time.perf_counter() - sent.pop(number)) * 1e3)
            by_number[number].recv(64)
    gc.enable()
    for sock in socks:
        sock.close()
    return sorted(took)


def apart(server: Server, ends: list[int], options: argparse.Namespace) -> None:
    """The proxy on a processor of its own, and both ends on another one; with --alone whatever else runs waits."""
    processors = sorted(os.sched_getaffinity(0))
    for pid, processor in [(server.process.pid, processors[0]), *((pid, processors[-1]) for pid in ends)]:
        os.sched_setaffinity(pid, {processor})
        if options.alone:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(10))


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


def accuracy(name: str, server: Server, options: argparse.Namespace) -> None:
    end, answering = beside(answer)
    apart(server, [end.pid or 0, os.getpid()], options)
    port = server.proxy("late", answering)
    for jitter in (0, 10):
        toxic = {"type": "latency", "attributes": {"latency": 100, "jitter": jitter}}
        server.ask("POST", "/proxies/late/toxics", toxic)
        took = talks(port, 1000, 2 * options.seconds, 2000)
        server.ask("DELETE", "/proxies/late/toxics/latency_downstream")
        at = [took[min(int(len(took) * share), len(took) - 1)] for share in (0.01, 0.5, 0.99)]
        print(f"| {name} | 100 ± {jitter} | {at[0]:.2f} | {statistics.mean(took):.2f} | {at[1]:.2f} | {at[2]:.2f} |")
    end.kill()
    for pid in (server.process.pid, os.getpid()):
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(pid, range(os.cpu_count() or 1))


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
    parser.add_argument("--alone", action="store_true")
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
        accuracy(name, server, options)
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
