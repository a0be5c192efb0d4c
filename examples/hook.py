"""An application for sockeye's hook, of nothing but Python's standard library.

HOOK_SECRET=secret python3 hook.py 8080
sockeye serve --hook-url http://127.0.0.1:8080/ --hook-secret secret --hook-action '*' --hook-authenticate --hook-join
"""

import hashlib, hmac, json, os, random, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["HOOK_SECRET"].encode()
USERS = {"token-of-alice": {"id": "7", "name": "Alice", "group": "staff"}}


def action(question):
    name, message = question["action"], question["message"]
    if name == "roll":
        sides = message.get("sides", 6)
        if not 1 <= sides <= 100:
            return {"reply": "A die has 1 to 100 sides"}
        return {"reply": {"action": "rolled", "pips": random.randint(1, sides)}}
    if name == "announce":
        to = {"channel": message["channel"]}
        return {"send": [{"to": to, "message": message["text"], "from": "house"}]}
    return {"reply": "There is no such action"}


def join(question):
    user = question["user"] or {}
    if question["place"].get("channel") == "staff" and user.get("group") != "staff":
        return {"allow": False, "reply": "Staff only"}
    return {"allow": True}


ANSWERS = {
    "action": action,
    "join": join,
    "authenticate": lambda question: {"identity": USERS.get(question["token"])},
    "message": lambda question: {"allow": True},  # distributed as it came
}


def is_signed(header, body):
    parts = dict(part.split("=", 1) for part in (header or "t=0,v1=").split(","))
    digest = hmac.new(SECRET, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(digest, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are used again
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not is_signed(self.headers["Sockeye-Signature"], body):
            return self.send_error(403)
        question = json.loads(body)
        answer = json.dumps(ANSWERS[question["kind"]](question)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook)
print("listening on 127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
