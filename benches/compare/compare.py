#!/usr/bin/env python3
"""Compare WebSocket servers on one machine: server pinned to core 0, load generator to core 1.

    compare.py [--servers FILE] [--only a,b] [--scenarios x,y] [--secs 3] [--rounds 5] [--out FILE]

Every scenario is run for server A, B, C, then A, B, C again ... (--rounds times); the table shows
medians (and the lowest CPU figure), the spread as (max-min)/median, and the ratio of CPU per message
to the first server of the list, paired round by round (below 1 is cheaper).
Servers not under test are SIGSTOPped. The figure to trust on a shared machine is CPU-us per message.

The servers come from servers.txt, one line each:
    name | features | port | path | command
features: any of echo raw idle connect deflate takeover fan tls (raw: no handshake, plain TCP echo; tls: echo over wss,
driven by `sockeye bench`, for the load generator does not speak TLS).
fan:NAME picks a protocol of FAN below. {T} in a command is the cargo target directory (--target), {S} the sockeye binary ($SOCKEYE_BIN), {R} where this crate is built ($SOCKEYE_TARGET), {N} the Node peers ($PEERS_NODE).
"""
import argparse, json, os, shutil, signal, socket, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
FAN = {  # per protocol: path, join text, publish text, more loadgen options; {id} is the connection's number
    "json": ("/fan", '{"op":"join","room":"r"}', '{"op":"publish","room":"r","data":"' + "x" * 90 + '"}', []),
    # Who connects is in it; what is published are the generated messages.
    "broadcast": ("/", "", "", []),
    "room": ("/room/r", "", "x" * 128, []),
    "actions": ("/actions", '[{"action":"join_channel","channel_name":"r"}]',
                '[{"action":"message_channel","channel_name":"r","message":"' + "x" * 128 + '"}]', ["--pubs-join"]),
}
OFFER_NONE = ["--text", "--deflate", "--offer", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"]
OFFER_OWN = ["--text", "--deflate", "--offer", "permessage-deflate; client_max_window_bits"]
FANOUT_1K = ["fanout", "--subs", "1000", "--pubs", "1", "--pipeline", "1", "--size", "1024"]
E = lambda size, conns, pipe, *more: ["echo", "--size", str(size), "--conns", str(conns), "--pipeline", str(pipe), *more]
SCENARIOS = {
    "16B c1 p1": ("echo", E(16, 1, 1)),
    "16B c64 p1": ("echo", E(16, 64, 1)),
    "16B c64 p32": ("echo", E(16, 64, 32)),
    "125B c512 p1": ("echo", E(125, 512, 1)),
    "1K c64 p1": ("echo", E(1024, 64, 1)),
    "1K c64 p8": ("echo", E(1024, 64, 8)),
    "1K c64 p32": ("echo", E(1024, 64, 32)),
    "1K text c64 p32": ("echo", E(1024, 64, 32, "--text")),
    "16K c64 p1": ("echo", E(16384, 64, 1)),
    "64K c16 p1": ("echo", E(65536, 16, 1)),
    "64K text c16 p1": ("echo", E(65536, 16, 1, "--text")),
    "1M c4 p1": ("echo", E(1 << 20, 4, 1)),
    # No context takeover for anybody, so that like is compared with like; then contexts for everybody.
    "deflate 1K c64 p1": ("deflate", E(1024, 64, 1, *OFFER_NONE)),
    "deflate 64K c8 p1": ("deflate", E(65536, 8, 1, *OFFER_NONE)),
    "takeover 1K c64 p1": ("takeover", E(1024, 64, 1, *OFFER_OWN)),
    "takeover 64K c8 p1": ("takeover", E(65536, 8, 1, *OFFER_OWN)),
    "fanout 100 subs p1": ("fan", ["fanout", "--subs", "100", "--pubs", "1", "--pipeline", "1"]),
    "fanout 1000 subs p8": ("fan", ["fanout", "--subs", "1000", "--pubs", "1", "--pipeline", "8"]),
    "fanout 1K 1000 subs p1": ("fan", FANOUT_1K),
    "fanout 1K 1000 subs p1 deflate": ("fan", [*FANOUT_1K, *OFFER_NONE]),
    "tls 16B c16 p1": ("tls", E(16, 16, 1)),
    "tls 1K c16 p1": ("tls", E(1024, 16, 1)),
    "tls 1K c16 p32": ("tls", E(1024, 16, 32)),
    "tls 16K c16 p1": ("tls", E(16384, 16, 1)),
    "tls 64K c16 p1": ("tls", E(65536, 16, 1)),
    "connect c64": ("connect", ["connect", "--conns", "64"]),
    "idle 10k": ("idle", ["idle", "--conns", "10000", "--touch", "--size", "125"]),
}


class Server:
    def __init__(self, line, target):
        f = [x.strip() for x in line.split("|", 4)]
        self.name, self.feat, self.port, self.path = f[0], f[1].split(), int(f[2]), f[3]
        self.cmd = f[4].replace("{T}", target).replace("{S}", os.environ.get("SOCKEYE_BIN", "sockeye"))
        self.cmd = self.cmd.replace("{R}", os.environ.get("SOCKEYE_TARGET", "target")).replace("{N}", os.environ.get("PEERS_NODE", "."))
        self.p = None

    def has(self, kind):
        return any(x.split(":")[0] == kind for x in self.feat)

    def start(self, core):
        self.p = subprocess.Popen(["taskset", "-c", str(core), "bash", "-c", f"ulimit -n $(ulimit -Hn); exec {self.cmd}"],
                                  stdout=subprocess.DEVNULL, stderr=open(f"/tmp/perf-{self.name}.err", "w"))
        for _ in range(100):
            if self.p.poll() is not None:
                raise SystemExit(f"{self.name}: exited at once; is port {self.port} taken? see /tmp/perf-{self.name}.err")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{self.name}: nothing listens on {self.port}")

    def sig(self, s):
        if self.p and self.p.poll() is None:
            os.kill(self.p.pid, s)

    def stop(self):
        if self.p:
            self.sig(signal.SIGCONT)
            self.p.terminate()
            try:
                self.p.wait(3)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
            self.p = None


def load_tls(a, srv, args):
    """The same figures by `sockeye bench`, whose first option is the URL."""
    cmd = ["taskset", "-c", str(a.client_core), os.environ.get("SOCKEYE_BIN", "sockeye"), "bench",
           f"wss://127.0.0.1:{srv.port}{srv.path}", "--insecure", "--json", *args[1:], "--secs", str(a.secs),
           "--warmup", str(a.warmup), "--pid", str(srv.p.pid)]
    try:
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=a.secs + a.warmup + 60)
    except subprocess.TimeoutExpired:
        return {"failed": "timeout"}
    if r.returncode or not r.stdout.strip():
        return {"failed": r.stderr.strip()[-200:]}
    j = json.loads(r.stdout)
    p = j["latency_us"]
    return {"msgs": j["messages"], "msgs_s": j["rate"], "cpu_us_msg": j["server_cpu_us"], "cpu_user_share": j["server_user_share"],
            "p50_us": p["p50"], "p99_us": p["p99"], "p999_us": p["p999"], "server_util": j["server_cpu_share"],
            "core_util": 0, "client_util": j["client_cpu_share"], "errors": j["failed"] + j["lost"] + j["wrong"]}


def load(a, srv, kind, args):
    if kind == "tls":
        return load_tls(a, srv, args)
    cmd = ["taskset", "-c", str(a.client_core), os.path.join(a.target, "release/loadgen"), *args,
           "--addr", f"127.0.0.1:{srv.port}", "--path", srv.path, "--secs", str(a.secs), "--warmup", str(a.warmup),
           "--server-pid", str(srv.p.pid), "--server-core", str(a.server_core), "--label", srv.name]
    if srv.has("raw"):
        cmd.append("--raw")
    if kind == "fan":
        proto = next(x for x in srv.feat if x.startswith("fan")).partition(":")[2] or "json"
        path, join, publish, more = FAN[proto]
        cmd += ["--join", join, "--publish", publish, *more]
        cmd[cmd.index("--path") + 1] = path
    try:
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=a.secs + a.warmup + 60)
    except subprocess.TimeoutExpired:
        return {"failed": "timeout"}
    if r.returncode or not r.stdout.strip():
        return {"failed": r.stderr.strip()[-200:]}
    return json.loads(r.stdout)


def med(rows, k):
    v = [r[k] for r in rows if k in r]
    return statistics.median(v) if v else None


def low(rows, k):
    return min(r[k] for r in rows if k in r)


def paired(rows, ref, k):
    """Median over the rounds of this server's figure divided by the reference's in the same round:
    what disturbs the machine for seconds disturbs both."""
    v = [a[k] / b[k] for a, b in zip(rows, ref) if a.get(k) and b.get(k)]
    return statistics.median(v) if v else float("nan")


def per_message(rows):
    """Bytes that came for a message: what compression makes of it."""
    v = [r["rx_bytes"] / r["msgs"] for r in rows if r.get("rx_bytes") and r.get("msgs")]
    return statistics.median(v) if v else None


def spread(rows, k):
    v = [r[k] for r in rows if k in r]
    m = statistics.median(v) if v else 0
    return (max(v) - min(v)) / m if m else 0


def num(x):
    if x is None:
        return "-"
    return f"{x:,.0f}" if x >= 1000 else f"{x:.3g}" if x < 10 else f"{x:.1f}"


def table(name, kind, res, out):
    w = lambda s: print(s, file=out, flush=True)
    w(f"\n### {name}\n")
    first = None
    ref = next(iter(res.values()), [])
    if kind == "idle":
        w("| server | bytes/conn fresh | after one message | ratio | open CPU us/conn | idle CPU us/s | RSS after close | failed |")
        w("|---|--:|--:|--:|--:|--:|--:|--:|")
        for s, rows in res.items():
            ok = [r for r in rows if "failed" not in r or isinstance(r["failed"], int)]
            if not ok:
                w(f"| {s} | failed: {rows[0].get('failed')} |")
                continue
            t = med(ok, "bytes_per_conn_touched")
            first = first or t
            w(f"| {s} | {num(med(ok,'bytes_per_conn'))} | {num(t)} | {t/first:.2f} | {num(med(ok,'open_cpu_us'))} | {num(med(ok,'hold_cpu_us_s'))} | {num(med(ok,'rss_after_close_kb'))} kB | {num(med(ok,'failed'))} |")
        return
    unit = "conn" if kind == "connect" else "msg"
    w(f"| server | {unit}/s | spread | CPU us/{unit} | lowest | spread | ratio | core us/{unit} | bytes/{unit} | user share | p50 us | p99 us | p999 us | srv/core/client util | errors |")
    w("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for s, rows in res.items():
        ok = [r for r in rows if "failed" not in r and r["msgs"] > 0]
        if not ok:
            w(f"| {s} | failed: {rows[0].get('failed')} |")
            continue
        c = med(ok, "cpu_us_msg")
        w(f"| {s} | {num(med(ok,'msgs_s'))} | {spread(ok,'msgs_s'):.0%} | {num(c)} | {num(low(ok,'cpu_us_msg'))} | {spread(ok,'cpu_us_msg'):.0%} | {paired(rows, ref, 'cpu_us_msg'):.2f} | {num(med(ok,'core_us_msg'))} | {num(per_message(ok))} | {med(ok,'cpu_user_share'):.0%} "
          f"| {num(med(ok,'p50_us'))} | {num(med(ok,'p99_us'))} | {num(med(ok,'p999_us'))} | {med(ok,'server_util'):.2f}/{med(ok,'core_util'):.2f}/{med(ok,'client_util'):.2f} | {num(sum(r['errors'] for r in ok))} |")


def main():
    ap = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    ap.add_argument("--servers", default=os.path.join(HERE, "servers.txt"))
    ap.add_argument("--only", default="")
    ap.add_argument("--scenarios", default="", help="comma-separated substrings of scenario names")
    ap.add_argument("--secs", type=float, default=3)
    ap.add_argument("--warmup", type=float, default=0.4)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--server-core", type=int, default=0)
    ap.add_argument("--client-core", type=int, default=1)
    ap.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "target")))
    ap.add_argument("--out", default="")
    ap.add_argument("--json", default="")
    a = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    lines = [l for l in open(a.servers) if l.strip() and not l.startswith("#")]
    servers = [Server(l, a.target) for l in lines]
    for s in [s for s in servers if not shutil.which(s.cmd.split()[0])]:
        print(f"{s.name}: there is no {s.cmd.split()[0]}, so it is left out", file=sys.stderr)
        servers.remove(s)
    if a.only:
        pick = a.only.split(",")
        servers = sorted((s for s in servers if s.name in pick), key=lambda s: pick.index(s.name))
    scen = {k: v for k, v in SCENARIOS.items() if not a.scenarios or any(x in k for x in a.scenarios.split(","))}
    out = open(a.out, "a") if a.out else sys.stdout
    log = open(a.json, "a") if a.json else None
    try:
        for name, (kind, args) in scen.items():
            mine = [s for s in servers if s.has(kind)]
            fresh = kind == "idle"
            if not fresh:
                for s in mine:
                    if not s.p:
                        s.start(a.server_core)
                        s.sig(signal.SIGSTOP)
            res = {s.name: [] for s in mine}
            for rnd in range(1 if fresh else a.rounds):
                for s in mine:
                    if fresh:
                        s.stop()
                        s.start(a.server_core)
                    s.sig(signal.SIGCONT)
                    r = load(a, s, kind, args)
                    if fresh:
                        s.stop()
                    elif s.p.poll() is not None:
                        r = {"failed": "server died"}
                        s.p = None
                        s.start(a.server_core)
                        s.sig(signal.SIGSTOP)
                    else:
                        time.sleep(0.05)
                        s.sig(signal.SIGSTOP)
                    res[s.name].append(r)
                    if log:
                        print(json.dumps({"scenario": name, "server": s.name, "round": rnd, **r}), file=log, flush=True)
            table(name, kind, res, out)
    finally:
        for s in servers:
            s.stop()


main()
