// The published Node client, unmodified, drives every route and toxic that it knows. Arguments: its directory, the URL
// of the server, the address of an echo server. Prints one line for each claim that held; exits 1 at the first that did not.
"use strict";
const assert = require("assert");
const net = require("net");
const path = require("path");
const [, , directory, url, echo] = process.argv;
const { Toxiproxy } = require(path.join(directory, "node_modules", "toxiproxy-node-client"));

const toxiproxy = new Toxiproxy(url);

// What comes back for ten bytes, how it ended, and after how many milliseconds.
function talk(listen) {
  return new Promise((resolve) => {
    const [host, port] = listen.split(":");
    const began = process.hrtime.bigint();
    let seen = "";
    const done = (end) => resolve({ seen, end, ms: Number(process.hrtime.bigint() - began) / 1e6 });
    const socket = net.connect({ host, port: Number(port) }, () => socket.write("0123456789"));
    socket.on("data", (data) => {
      seen += data;
      if (seen.length >= 10) { socket.destroy(); done("data"); }
    });
    socket.on("end", () => done("end"));
    socket.on("error", (error) => done(error.code));
  });
}

const claims = {
  async "version is text"() {
    assert.strictEqual(await toxiproxy.getVersion(), '{"version": "2.12.0"}\n');
  },
  async "a proxy is made, got, listed, updated and removed"() {
    const made = await toxiproxy.createProxy({ name: "a", listen: "127.0.0.1:0", upstream: echo });
    assert.strictEqual(made.enabled, true);
    assert.strictEqual((await toxiproxy.get("a")).listen, made.listen);
    assert.deepStrictEqual(Object.keys(await toxiproxy.getAll()), ["a"]);
    assert.strictEqual((await talk(made.listen)).seen, "0123456789");
    const off = await made.update({ enabled: false, listen: made.listen, upstream: echo });
    assert.strictEqual(off.enabled, false);
    assert.strictEqual((await talk(made.listen)).end, "ECONNREFUSED");
    await toxiproxy.reset();
    assert.strictEqual((await toxiproxy.get("a")).enabled, true);
    await made.remove();
    await assert.rejects(toxiproxy.get("a"), /status code 404/);
  },
  async "a second proxy of one name is refused"() {
    const body = { name: "a", listen: "127.0.0.1:0", upstream: echo };
    const made = await toxiproxy.createProxy(body);
    await assert.rejects(toxiproxy.createProxy(body), /status code 409/);
    await made.remove();
  },
  async "populate makes a list"() {
    const list = ["a", "b"].map((name) => ({ name, listen: "127.0.0.1:0", upstream: echo }));
    const made = await toxiproxy.populate(list);
    assert.deepStrictEqual(Object.keys(made), ["a", "b"]);
    for (const one of Object.values(made)) await one.remove();
  },
};

const toxics = [
  ["latency", { latency: 60, jitter: 5 }, (got) => got.seen === "0123456789" && got.ms >= 55],
  ["bandwidth", { rate: 100 }, (got) => got.seen === "0123456789"],
  ["slow_close", { delay: 20 }, (got) => got.seen === "0123456789"],
  ["timeout", { timeout: 30 }, (got) => got.seen === "" && got.end === "end" && got.ms >= 30],
  ["slicer", { average_size: 2, size_variation: 1, delay: 10 }, (got) => got.seen === "0123456789"],
  ["limit_data", { bytes: 4 }, (got, stream) => {
    // Cut on the way up, the connection may be closed before the echo is back.
    return (got.seen === "0123" || (stream === "upstream" && got.seen === "")) && got.end === "end";
  }],
  ["reset_peer", { timeout: 10 }, (got) => got.seen === "" && got.end === "ECONNRESET"],
];
for (const [type, attributes, holds] of toxics) {
  for (const stream of ["upstream", "downstream"]) {
    claims[`${type} acts ${stream}, is changed and removed`] = async () => {
      const proxy = await toxiproxy.createProxy({ name: "a", listen: "127.0.0.1:0", upstream: echo });
      const toxic = await proxy.addToxic({ name: "t", type, stream, toxicity: 1, attributes });
      assert.deepStrictEqual(toxic.toJson(), (await proxy.getToxic("t")).toJson());
      const got = await talk(proxy.listen);
      assert.ok(holds(got, stream), JSON.stringify(got));
      const name = Object.keys(attributes)[0];
      const changed = await toxic.update({ name: "t", type, stream, toxicity: 0, attributes: { [name]: 7 } });
      assert.strictEqual(changed.attributes[name], 7);
      assert.strictEqual((await talk(proxy.listen)).seen, "0123456789");
      await toxic.remove();
      await assert.rejects(proxy.getToxic("t"), /status code 404/);
      await proxy.remove();
    };
  }
}

(async () => {
  for (const [claim, hold] of Object.entries(claims)) {
    try {
      await hold();
    } catch (error) {
      console.error(`${claim}: ${error.stack}`);
      process.exit(1);
    }
    console.log(claim);
  }
  process.exit(0);
})();
