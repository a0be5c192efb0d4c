"""A machine for the commands of the documents: a directory that stands for its root, free ports for those of the documents, and
stand-ins for what a container has not: systemd, certbot and its authority, accounts, and what builds the program.

What is run there is bash, openssl, curl, install and sockeye themselves. Where the test is root the service is not: it is
started with the group that its unit names and no other right, as systemd would, so that a file it may not read is found here.
"""

import contextlib
import datetime
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 20
GROUP = "sockeye-keys"
IS_ROOT = os.getuid() == 0
# Nobody's: of the service, and of the group that may read keys.
SERVICE_ID, GROUP_ID = (64864, 64863) if IS_ROOT else (os.getuid(), os.getgid())
PORTS = ["443", "4863", "4864", "5200", "6502"]
STAND_INS = ["apt-get", "cargo", "certbot", "git", "groupadd", "journalctl", "pidof", "systemctl"]
# Tells the machine what it was called with, and says what it answers.
STAND_IN = '''#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as machine:
    machine.connect({path!r})
    machine.sendall(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]).encode() + b"\\n")
    answer = json.loads(machine.makefile().readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
'''
# systemd passes sockets from the third descriptor on, to the process of this number. Rights are dropped here because Python
# itself may stand where nobody but root may read.
PASS_SOCKETS = '''
import fcntl, json, os, sys
passed, whom, command = json.loads(sys.argv[1])
moved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 100) for number in passed]
for number in passed:
    os.close(number)
for at, number in enumerate(moved):
    os.dup2(number, 3 + at)
os.environ["LISTEN_PID"] = str(os.getpid())
if whom:
    user, group = whom
    os.setgroups([group])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
os.execv(command[0], command)
'''


class Refused(Exception):
    """What a stand-in answers when a command is none that it knows, or fails."""


class Machine:
    def __init__(self, binary):
        self.binary = binary
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="sockeye-operations-"))
        self.root.chmod(0o755)
        for name in ["bin", "checkout", "home", "work", "acme", "etc/systemd/system", "usr/local/bin", "usr/local/sbin", "run"]:
            (self.root / name).mkdir(parents=True)
        self.ports = {port: free_port() for port in PORTS}
        self.asked, self.groups, self.pid = [], set(), None
        self.lay_out_checkout()
        self.authority = Authority(self)
        self.units = Units(self)
        self.listen()

    def close(self):
        self.units.stop("sockeye.service")
        self.units.stop("sockeye.socket")
        self.listener.close()
        shutil.rmtree(self.root)

    def lay_out_checkout(self):
        """What is installed from dist/ names paths of the machine, too."""
        dist = self.root / "checkout/dist"
        shutil.copytree(CHECKOUT / "dist", dist)
        for path in dist.iterdir():
            path.write_text(self.here(path.read_text()))

    def here(self, text, ports=None):
        """What the documents say, on this machine."""
        ports = ports or self.ports
        text = re.sub(r"(?<![\w./$}-])/(?=(etc|usr/local|run)/)", f"{self.root}/", text)
        text = re.sub(r"(wss|https)://ws\.example\.com", rf"\1://ws.example.com:443", text).replace("ws.example.com", "localhost")
        text = re.sub(rf"(?<=[:=])({'|'.join(PORTS)})\b", lambda found: str(ports[found[1]]), text)
        return re.sub(r"\b0\.0\.0\.0\b", "127.0.0.1", text).replace(f"-g {GROUP}", f"-g {GROUP_ID}")

    def environment(self, **more):
        inner = {name: value for name, value in os.environ.items() if not name.startswith(("SOCKEYE_", "LISTEN_", "NOTIFY_"))}
        # In front, as on any machine, what is installed there; the authority of the stand-in for certbot is one the system trusts.
        return inner | {"PATH": f"{self.root}/usr/local/bin:{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                        "HOME": str(self.root / "home"), "SSL_CERT_FILE": str(self.authority.certificate), "CURL_CA_BUNDLE": str(self.authority.certificate),
                        "RUST_BACKTRACE": "0"} | more

    def sh(self, text, cwd="checkout", mapped=True, code=0):
        """Runs a block as it stands; what it wrote to stdout."""
        more = {"SOCKEYE_SERVER__ADMIN": f"127.0.0.1:{self.ports['4864']}"}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", self.here(text) if mapped else text], cwd=self.root / cwd,
                              env=self.environment(**more), capture_output=True, text=True, timeout=3 * PATIENCE,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == code, f"exit code {done.returncode}\n{text}\n{done.stdout}{done.stderr}{self.units.journal()}"
        return done.stdout

    @contextlib.contextmanager
    def serving(self, command, listening=1, ports=None):
        """One command that serves, until its check is done; then it is told to stop, and exits with 0."""
        ports = ports or {port: free_port() for port in PORTS}
        more = {"SOCKEYE_SERVER__LISTEN": f"127.0.0.1:{ports['4863']}"}
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", "exec " + self.here(command, ports)], text=True,
                                   cwd=self.root / "work", env=self.environment(**more), stderr=subprocess.PIPE)
        said, watchdog = [], threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            while sum("listening" in line for line in said) < listening or not re.search("at most|serving", said[-1]):
                line = process.stderr.readline()
                assert line, f"{command}: it ends: {''.join(said)}"
                said.append(line)
            self.pid = process.pid
            drain = threading.Thread(target=process.stderr.read, daemon=True)
            drain.start()
            yield ports, "".join(said)
            process.terminate()
            assert process.wait(PATIENCE) == 0, command
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE)

    def listen(self):
        """For the stand-ins."""
        path = str(self.root / "run/machine")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        (self.root / "bin/stand-in").write_text(STAND_IN.format(python=sys.executable, path=path))
        (self.root / "bin/stand-in").chmod(0o755)
        for name in STAND_INS:
            (self.root / "bin" / name).symlink_to("stand-in")
        threading.Thread(target=self.answer, daemon=True).start()

    def answer(self):
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            with caller:
                arguments = json.loads(caller.makefile().readline())
                answer = {"code": 0, "out": "", "err": ""}
                try:
                    answer["out"] = self.do(*arguments) or ""
                except (Refused, AssertionError, subprocess.SubprocessError, OSError) as error:
                    answer |= {"code": 1, "err": f"stand-in for {' '.join(arguments)}: {error!r}\n"}
                caller.sendall(json.dumps(answer).encode() + b"\n")

    def do(self, program, *arguments):
        self.asked.append([program, *arguments])
        match [program, *arguments]:
            case ["apt-get", "update"]:
                pass  # by the next one, if need be
            case ["apt-get", "install", "-y", *packages]:
                available(packages)
            case ["cargo", "build", "--release", "--locked"]:
                there = self.root / "checkout/target/release"
                there.mkdir(parents=True, exist_ok=True)
                (there / "sockeye").unlink(missing_ok=True)
                (there / "sockeye").symlink_to(self.binary)
            case ["git", "pull", "--ff-only"]:
                pass
            case ["groupadd", "--system", "--force", group]:
                self.groups.add(group)
            case ["pidof", "sockeye"]:
                return f"{self.pid}\n"
            case ["journalctl", "-u", "sockeye", "-o", "cat", "-n", count]:
                return "".join(f"{line}\n" for line in self.units.journal().splitlines()[-int(count):])
            case ["systemctl", "daemon-reload"]:
                self.units.read()
            case ["systemctl", "enable", "--now", *units]:
                self.units.start(*units)
            case ["systemctl", ("start" | "stop" | "restart" | "reload") as verb, *units]:
                getattr(self.units, verb)(*units)
            case ["certbot", *_]:
                self.authority.certbot(*arguments)
            case _:
                raise Refused("it does not know that; teach it in tests/operations/machine.py")


def available(packages):
    """apt would install these."""
    if IS_ROOT:
        known = subprocess.run(["apt-cache", "show", *packages], capture_output=True)
        if known.returncode != 0:
            subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
        subprocess.run(["apt-get", "install", "--simulate", "-y", *packages], check=True, capture_output=True)


class Authority:
    """Let's Encrypt and certbot, as far as they are seen from here: the files, their links and modes, and the hook."""

    def __init__(self, machine):
        self.machine, self.folder, self.count = machine, machine.root / "acme", 0
        self.certificate, self.renewed = self.folder / "ca.pem", {}
        openssl("req", "-x509", *EC, "-days", "30", "-subj", "/CN=the public", "-keyout", self.folder / "ca-key.pem",
                "-out", self.certificate, "-addext", "keyUsage=critical,keyCertSign")

    def certbot(self, verb, *arguments):
        if verb == "renew" and not arguments and self.renewed:
            for name, hook in self.renewed.items():
                self.issue(name, hook)
            return
        assert verb == "certonly", verb
        given = list(arguments)
        for flag in ["--standalone", "--non-interactive", "--agree-tos"]:
            given.remove(flag)
        options = dict(zip(given[::2], given[1::2], strict=True))
        assert options.keys() == {"--email", "-d", "--deploy-hook"}, options
        self.renewed[options["-d"]] = options["--deploy-hook"]
        self.issue(options["-d"], options["--deploy-hook"])

    def pair(self, name, key, leaf):
        openssl("req", "-new", *EC, "-subj", f"/CN={name}", "-keyout", key, "-out", self.folder / "request.pem")
        (self.folder / "names").write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", self.folder / "request.pem", "-CA", self.certificate, "-CAkey", self.folder / "ca-key.pem",
                "-CAcreateserial", "-days", "90", "-extfile", self.folder / "names", "-out", leaf)

    def issue(self, name, hook):
        self.count += 1
        home = self.machine.root / "etc/letsencrypt"
        for folder in [home / "archive", home / "live"]:
            (folder / name).mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        archive, number = home / "archive" / name, self.count
        key, leaf, chain = (archive / f"{what}{number}.pem" for what in ["privkey", "cert", "fullchain"])
        self.pair(name, key, leaf)
        chain.write_text(leaf.read_text() + self.certificate.read_text())
        key.chmod(0o600)
        for what in ["privkey", "cert", "fullchain"]:
            link = home / "live" / name / f"{what}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/{name}/{what}{number}.pem")
        subprocess.run(hook, shell=True, check=True, capture_output=True, env=self.machine.environment(
            RENEWED_LINEAGE=str(home / "live" / name), RENEWED_DOMAINS=name))


EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Units:
    """systemd, for the two units: it holds the sockets, and passes them to the service that it starts, stops and reloads."""

    def __init__(self, machine):
        self.machine, self.folder = machine, machine.root / "etc/systemd/system"
        self.log = machine.root / "journal"
        self.log.touch()
        self.settings, self.sockets, self.process, self.exit_code = {}, [], None, None
        self.ready = threading.Condition()
        self.told = []
        path = machine.root / "run/notify"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(path))
        path.chmod(0o666)
        threading.Thread(target=self.hear, daemon=True).start()

    def journal(self):
        return self.log.read_text()

    def hear(self):
        while datagram := self.notify.recv(4096):
            with self.ready:
                self.told += datagram.decode().splitlines()
                self.ready.notify_all()

    def read(self):
        """The units with their drop-ins: an empty setting forgets those before."""
        self.settings = {}
        for unit in ["sockeye.socket", "sockeye.service"]:
            found = {}
            for path in [self.folder / unit, *sorted((self.folder / f"{unit}.d").glob("*.conf"))]:
                for line in path.read_text().splitlines():
                    if not line.startswith(("#", "[")) and "=" in line:
                        key, value = line.split("=", 1)
                        found[key] = [*found.get(key, []), value] if value else []
            self.settings[unit] = found

    def one(self, unit, key):
        return self.settings[unit][key][-1]

    def named(self, units):
        names = [unit if "." in unit else f"{unit}.service" for unit in units]
        assert set(names) <= {"sockeye.socket", "sockeye.service"}, names
        return names

    def start(self, *units):
        """The socket first, as After= says."""
        for unit in sorted(self.named(units), reverse=True):
            if unit == "sockeye.socket" and not self.sockets:
                assert self.process is None, "a socket unit does not start while its service runs"
                for address in self.settings[unit]["ListenStream"]:
                    listener = socket.socket()
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("127.0.0.1", int(address.rsplit(":", 1)[-1])))
                    listener.listen(int(self.one(unit, "Backlog")))
                    self.sockets.append(listener)
            if unit == "sockeye.service" and self.process is None:
                if not self.sockets:
                    self.start("sockeye.socket")  # Wants=
                self.start_service()

    def start_service(self):
        unit, root = "sockeye.service", self.machine.root
        for group in self.settings[unit].get("SupplementaryGroups", []):
            assert group in self.machine.groups, f"there is no group {group} (216/GROUP)"
        credentials = self.owned("run/credentials", 0o700)
        for one in self.settings[unit]["LoadCredential"]:
            name, source = one.split(":", 1)
            shutil.copy(source, credentials / name)
            self.give(credentials / name, 0o400)
        self.owned("run/" + self.one(unit, "RuntimeDirectory"), int(self.one(unit, "RuntimeDirectoryMode"), 8))
        command = shlex.split(self.one(unit, "ExecStart").replace("${CREDENTIALS_DIRECTORY}", str(credentials)))
        numbers = [listener.fileno() for listener in self.sockets]
        names = ":".join([self.one("sockeye.socket", "FileDescriptorName")] * len(numbers))
        whom = [SERVICE_ID, GROUP_ID] if IS_ROOT else None
        with self.ready:
            self.told.clear()
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-ISc", PASS_SOCKETS, json.dumps([numbers, whom, command])], pass_fds=numbers,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", umask=0o077, start_new_session=True,
                env={"PATH": "/usr/bin:/bin", "CREDENTIALS_DIRECTORY": str(credentials), "LISTEN_FDS": str(len(numbers)),
                     "LISTEN_FDNAMES": names, "NOTIFY_SOCKET": str(root / "run/notify")})
        try:
            self.hears("READY=1")
        except AssertionError:
            self.stop(unit)
            raise

    def hears(self, *said):
        """Until the service has said all of it, and has not ended."""
        deadline = time.monotonic() + PATIENCE
        with self.ready:
            while not set(said) <= set(self.told):
                assert self.process.poll() is None, f"it exits with {self.process.returncode}: {self.journal()[-2000:]}"
                assert time.monotonic() < deadline, f"it says {self.told}, and not {said}"
                self.ready.wait(0.05)

    def owned(self, name, mode):
        """A directory of the service's, made anew."""
        path = self.machine.root / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.give(path, mode)
        return path

    @staticmethod
    def give(path, mode):
        path.chmod(mode)
        os.chown(path, SERVICE_ID, SERVICE_ID if IS_ROOT else -1)

    def reload(self, *units):
        assert self.named(units) == ["sockeye.service"] and self.process
        with self.ready:
            self.told.clear()
        command = self.one("sockeye.service", "ExecReload").replace("$MAINPID", str(self.process.pid))
        subprocess.run(shlex.split(command), check=True)
        self.hears("RELOADING=1", "READY=1")

    def stop(self, *units):
        for unit in sorted(self.named(units)):
            if unit == "sockeye.service" and self.process:
                if self.process.poll() is None:
                    self.process.send_signal(signal.SIGTERM)
                self.ended(int(self.one(unit, "TimeoutStopSec")))
            if unit == "sockeye.socket":
                for listener in self.sockets:
                    listener.close()
                self.sockets = []

    def ended(self, seconds):
        """The exit code of the service, which is over by then."""
        try:
            self.exit_code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.exit_code = self.process.wait()
        self.process = None
        return self.exit_code

    def restart(self, *units):
        self.stop(*units)
        assert self.exit_code == 0, f"stopped with {self.exit_code}: {self.journal()[-2000:]}"
        self.start(*units)


class Client:
    """A WebSocket, by hand: no more than these tests need."""

    def __init__(self, port, cafile=None, path="/echo", host="localhost"):
        stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if cafile:
            stream = ssl.create_default_context(cafile=str(cafile)).wrap_socket(stream, server_hostname=host)
            self.serial = stream.getpeercert()["serialNumber"]
            self.ends = datetime.datetime.strptime(stream.getpeercert()["notAfter"], "%b %d %H:%M:%S %Y %Z")
        self.socket, self.stream = stream, stream.makefile("rb")
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        status = self.stream.readline()
        assert status == b"HTTP/1.1 101 Switching Protocols\r\n", status
        while self.stream.readline() != b"\r\n":
            pass

    def send(self, text, opcode=1):
        body = text if isinstance(text, bytes) else text.encode()
        assert len(body) < 126
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(body), 0, 0, 0, 0]) + body)

    def receive(self):
        """The next message or Close: its opcode and what it has."""
        lead, length = self.stream.read(2)
        if length == 126:
            length = int.from_bytes(self.stream.read(2), "big")
        return lead & 15, self.stream.read(length)

    def echoes(self):
        self.send("is it there?")
        assert self.receive() == (1, b"is it there?")

    def closed(self):
        """The code and reason with which it is closed, what comes before left out; it answers."""
        while True:
            opcode, body = self.receive()
            if opcode == 8:
                self.send(body[:2], 8)
                self.close()
                return int.from_bytes(body[:2], "big"), body[2:].decode()

    def close(self):
        self.stream.close()
        self.socket.close()


def free_port():
    """One that nobody is given who asks for any, for some are listened on only much later."""
    lowest_given = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, lowest_given) if lowest_given > 12_000 else 0
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
