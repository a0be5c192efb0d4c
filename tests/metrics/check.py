"""Reads /metrics with the parser of prometheus_client, makes some connections, and reads it again.

    check.py URL ADDRESS      URL: of /metrics; ADDRESS: host:port where WebSockets are served
    check.py FILE             a text only: whether it is one that the parser takes, and is whole
"""

import base64
import os
import re
import socket
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

MEDIA_TYPE = "application/openmetrics-text"
# What there is to be, whatever has happened so far, and of which kind.
FAMILIES = {
    "sockeye_build": "info",
    "sockeye_connections": "gauge",
    "sockeye_connections_accepted": "counter",
    "sockeye_handshakes": "counter",
    "sockeye_handshakes_refused": "counter",
    "sockeye_connections_closed": "counter",
    "sockeye_messages_received": "counter",
    "sockeye_messages_received_bytes": "counter",
    "sockeye_messages_sent": "counter",
    "sockeye_messages_sent_bytes": "counter",
    "sockeye_messages_dropped": "counter",
    "sockeye_queue_bytes": "gauge",
    "sockeye_buffered_bytes": "gauge",
    "sockeye_loop_turn_seconds": "histogram",
    "sockeye_ping_rtt_seconds": "histogram",
    "sockeye_deflate_contexts": "gauge",
    "sockeye_deflate_context_bytes": "gauge",
    "sockeye_channels": "gauge",
    "sockeye_users": "gauge",
    "sockeye_panics": "counter",
}
# What may stand in a label: words of the server's own, and numbers.
LABEL = re.compile(r"[a-z_]+|[0-9.e+-]+|\+Inf")


def families(text):
    """The families of an exposition by name; raises where it is none."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} twice"
        assert family.documentation, f"{family.name} has no HELP"
        if family.unit:
            assert family.name.endswith("_" + family.unit), family.name
        for sample in family.samples:
            for value in sample.labels.values():
                if family.type != "info":
                    assert LABEL.fullmatch(value), f"{sample.name} has a label {value!r}"
        found[family.name] = family
    for name, kind in FAMILIES.items():
        assert name in found, f"no {name}"
        assert found[name].type == kind, f"{name} is a {found[name].type}, not a {kind}"
    return found


def value(found, name, **labels):
    """The value of one sample; 0 where there is none yet."""
    for family in found.values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0


def scrape(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        media_type = answer.headers["Content-Type"]
        assert media_type.startswith(MEDIA_TYPE), media_type
        return families(answer.read().decode("utf-8"))


def send(address, data):
    """Sends, and reads until the server ends the connection, which this end leaves to it."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        peer.sendall(data)
        heard = b""
        while chunk := peer.recv(65536):
            heard += chunk
        return heard


def frame(lead, payload):
    return bytes([lead, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def request(path, *lines):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *lines,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def check_server(url, address):
    before = scrape(url)
    # An echo, closed with a code that nobody has registered; a version that nobody speaks; no HTTP at all.
    heard = send(address, request("/echo") + frame(0x81, b"hello") + frame(0x88, (4321).to_bytes(2, "big")))
    assert b"\x81\x05hello" in heard, heard
    odd = b"GET /odd\"\\label HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    assert send(address, odd + b"Sec-WebSocket-Version: 99\r\n\r\n").startswith(b"HTTP/1.1 4")
    assert send(address, b"\x00\x01\x02\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    after = scrape(url)

    def rise(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)

    assert rise("sockeye_handshakes_total", result="opened") == 1
    assert rise("sockeye_handshakes_total", result="refused") == 2
    assert rise("sockeye_connections_closed_total", code="other", cause="peer") == 1
    assert rise("sockeye_handshakes_refused_total", status="400", reason="malformed") >= 1
    assert rise("sockeye_messages_received_total") == 1
    assert rise("sockeye_messages_received_bytes_total") == 5
    assert rise("sockeye_messages_sent_bytes_total") == 5
    # Those three, and this scrape.
    assert rise("sockeye_connections_accepted_total") == 4, rise("sockeye_connections_accepted_total")
    assert rise("sockeye_loop_turn_seconds_count") > 0
    begun = ["opened", "refused", "answered", "lost", "tls_failed"]
    results = sum(value(after, "sockeye_handshakes_total", result=result) for result in begun)
    handshaking = value(after, "sockeye_connections", state="handshaking")
    assert results + handshaking == value(after, "sockeye_connections_accepted_total")
    for name, family in before.items():
        for sample in family.samples if family.type in ("counter", "histogram") else []:
            now = value(after, sample.name, **sample.labels)
            assert now >= sample.value, f"{sample.name}{sample.labels} fell from {sample.value} to {now}"
    return after


def main():
    if len(sys.argv) == 2:
        with open(sys.argv[1], encoding="utf-8") as file:
            found = families(file.read())
    elif len(sys.argv) == 3:
        found = check_server(sys.argv[1], sys.argv[2])
    else:
        sys.exit(__doc__)
    samples = sum(len(family.samples) for family in found.values())
    print(f"metrics: {len(found)} families with {samples} samples are OpenMetrics")


main()
