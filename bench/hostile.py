"""A session of hostile clients against koe's server: nothing but Python's own sockets.

    python3 bench/hostile.py [--koe target/release/koe] [CASE...]

Starts the server itself with the built-in voice. After every case the process must live and answer
/health/live at once, hold no request, keep its memory within bounds, and have no panic in its log.
Prints a line for every case and ends with an error if one fails. Takes some five minutes, most of
them waiting for the server's patience to end. Linux only: memory is read from /proc.
"""
import argparse
import base64
import concurrent.futures
import http.client
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

LONG = "On and on it goes. " * 5000
# How much more memory a case may leave behind, and take at its peak, in MiB.
MAY_KEEP, MAY_TAKE = 64, 512
# As the server has them.
MAX_CHARS, MAX_REQUESTS = 200_000, 64


class Server:
    def __init__(self, koe, *arguments, files=None):
        self.home = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.home.name, "log"), "w+b")
        limit = None
        if files:
            limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        self.process = subprocess.Popen(
            [koe, "serve", "--port", "0", "--model", "builtin", *arguments],
            stderr=self.log, stdin=subprocess.DEVNULL, preexec_fn=limit,
            env={"HOME": self.home.name, "PATH": os.environ["PATH"]})
        self.port = int(self.wait_for(lambda: re.search(rb"listening on http://[\d.]+:(\d+)", self.said()))[1])
        self.wait_for(lambda: self.get("/health/ready")[0] == 200, 120)

    def wait_for(self, holds, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                if found := holds():
                    return found
            except OSError:
                pass
            assert self.process.poll() is None, "the server ended: " + self.said().decode()[-2000:]
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.02)

    def said(self):
        with open(self.log.name, "rb") as log:
            return log.read()

    def connect(self, timeout=30.0):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path, timeout=10):
        return self.request("GET", path, timeout=timeout)

    def speak(self, body, timeout=60):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", "/v1/audio/speech", body, timeout=timeout)

    def memory(self, name="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"{name}:\s+(\d+)", status.read())[1]) / 1024

    def forget_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def inflight(self):
        return json.loads(self.get("/status")[1])["requests"]["inflight"]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.home.cleanup()


def head(path="/v1/audio/speech", length=None, extra=b""):
    length = b"" if length is None else b"Content-Length: %d\r\n" % length
    return (b"POST %s HTTP/1.1\r\nHost: koe\r\nContent-Type: application/json\r\n%s%s\r\n"
            % (path.encode(), length, extra))


def post(body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(length=len(body)) + body


def drain(stream, most=1 << 30):
    """All that comes until the other side closes, resets, or time is out; and which it was."""
    heard = bytearray()
    try:
        while len(heard) < most and (part := stream.recv(65536)):
            heard += part
    except ConnectionError:
        return bytes(heard), "reset"
    except TimeoutError:
        return bytes(heard), "open"
    return bytes(heard), "closed"


def status(heard):
    found = re.match(rb"HTTP/1\.[01] (\d{3})", heard)
    return int(found[1]) if found else None


def tally(things):
    counts = {}
    for thing in things:
        counts[thing] = counts.get(thing, 0) + 1
    return ", ".join(f"{count} × {thing}" for thing, count in sorted(counts.items(), key=str))


# --- Cases. Each takes the server and says what happened.


def slow_heads_and_bodies(server):
    """100 clients send a byte now and then: half of them of their head, half of their body."""
    begun = time.monotonic()
    dripping = []
    for i in range(100):
        stream = server.connect(0.01)
        stream.sendall(b"POST /v1/audio/speech HT" if i % 2 else head(length=100_000) + b"{")
        dripping.append((stream, i % 2))
    ended = {0: [], 1: []}
    heard = {0: [], 1: []}
    while dripping and time.monotonic() - begun < 60:
        time.sleep(0.5)
        still = []
        for stream, kind in dripping:
            try:
                stream.sendall(b"T" if kind else b" ")
                part = stream.recv(4096)
                heard[kind].append(status(part))
                ended[kind].append(time.monotonic() - begun)
            except TimeoutError:
                still.append((stream, kind))
            except ConnectionError:
                heard[kind].append("reset")
                ended[kind].append(time.monotonic() - begun)
        dripping = still
        assert server.speak({"input": "Hi."})[0] == 200, "others were not served"
    assert not dripping, f"{len(dripping)} are still open"
    return (f"heads: {tally(heard[1])} after {max(ended[1]):.0f} s; "
            f"bodies: {tally(heard[0])} after {max(ended[0]):.0f} s; others were served meanwhile")


def huge_bodies(server):
    """A body of 1 GiB announced, one without a length and without an end, one padded with spaces."""
    told = []
    for name, opening, chunk in [
        ("announced", head(length=1 << 30), b" " * 65536),
        ("endless", head(extra=b"Transfer-Encoding: chunked\r\n"), b"10000\r\n" + b" " * 65536 + b"\r\n"),
    ]:
        stream, sent = server.connect(), 0
        stream.sendall(opening)
        try:
            while sent < 1 << 28:
                sent += stream.send(chunk)
        except OSError:
            pass
        heard, _ = drain(stream)
        assert sent < 64 << 20, f"{name}: {sent} bytes were taken"
        assert status(heard) in (413, None), heard[:100]
        told.append(f"{name}: {status(heard)} after {sent >> 20} MiB")
    got, body = server.speak(b" " * (4 << 20))
    assert got == 413, (got, body[:100])
    return "; ".join(told) + "; 4 MiB: 413"


def huge_heads(server):
    """A path, a header and a number of headers without measure."""
    heard = []
    for request in [b"GET /" + b"a" * (1 << 20), b"GET / HTTP/1.1\r\nHost: koe\r\nX: " + b"a" * (4 << 20),
                    b"GET / HTTP/1.1\r\nHost: koe\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(50_000)),
                    b"GET / HTTP/1.1\r\n" + b"Host: koe\r\n" * 65 + b"\r\n",
                    b"GET / HTTP/1.1\r\nHost: koe\r\nAuthorization: Bearer " + b"k" * 100_000 + b"\r\n\r\n"]:
        stream = server.connect()
        try:
            stream.sendall(request)
        except OSError:
            pass
        heard.append(status(drain(stream)[0]) or "closed")
    assert all(one in (200, 400, 414, 431, "closed") for one in heard), heard
    return tally(heard)


def malformed_http(server):
    """What is not HTTP, or is two things at once."""
    body = post({"input": "Hi."})
    heard = []
    for request in [
        b"\0" * 1000, b"\r\n" * 10_000, b"hello\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost koe\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo\0st: koe\r\n\r\n", b"GET / HTTP/1.1\r\nX: a\0b\r\nHost: koe\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: koe\r\n\r\n", b"GET / HTTP/1.1\r\n X: folded\r\n\r\n",
        head(extra=b"Content-Length: -1\r\n"), head(extra=b"Content-Length: 99999999999999999999\r\n"),
        head(length=5, extra=b"Content-Length: 6\r\n") + b"hello!",
        head(length=5, extra=b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        head(extra=b"Transfer-Encoding: chunked\r\n") + b"ZZ\r\nhello\r\n",
        head(extra=b"Transfer-Encoding: chunked\r\n") + b"FFFFFFFFFFFFFFFFFF\r\nhello\r\n",
        head(extra=b"Transfer-Encoding: chunked\r\n") + b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
        head(extra=b"Transfer-Encoding: gzip, chunked\r\n") + b"2\r\n{}\r\n0\r\n\r\n",
        head(extra=b"Expect: 200-maybe\r\nContent-Length: 2\r\n") + b"{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(4096),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">I", 0xFFFFFF00 | 4) + b"\0" * 100,
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        body.replace(b"HTTP/1.1", b"HTTP/1.0"), body.replace(b"POST", b"QQQQ"),
        b"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: koe\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ]:
        stream = server.connect(2)
        try:
            stream.sendall(request)
            stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        heard.append(status(drain(stream)[0]) or "closed")
        stream.close()
    assert not any(isinstance(one, int) and one >= 500 for one in heard), heard
    return tally(heard)


def malformed_json(server):
    """What is not JSON, or not a request."""
    texts = [b"", b"{", b"[]", b"null", b"1", b'""', b'{"input"', b'{"input": }', b'{"input": "a",}', b"\xef\xbb\xbf{}",
             b'{"input": "a"} x', b'{"input": NaN}', b'{"input": "\\u12"}', b'{"input": "\\q"}', b"{'input': 'a'}",
             b'{"input": "a\nb"}', b'{"input": ["a"]}', b'{"input": {"a": 1}}', b'{"input": true}', b"\xff\xfe{\0}\0",
             b'{"input": "a", "voice": []}', b'{"input": "a", "voice": {"id": {"id": 1}}}', b'{"input": null}',
             b'{"input": "a", "input": "b"}', b'{"input": "a", "normalization_options": 5}', b'{"input": "a"' + b"}" * 9999]
    heard = []
    for path in ["/v1/audio/speech", "/dev/captioned_speech", "/dev/dialogue", "/dev/phonemize",
                 "/dev/generate_from_phonemes", "/v1/audio/voices/combine"]:
        for text in texts:
            got, body = server.request("POST", path, text)
            # Phonemes need no voice, and what is unknown is ignored.
            ignored = path == "/dev/phonemize" and got == 200 and re.search(b"voice|options", text)
            assert got == 400 or ignored, (path, text, got, body[:200])
            heard.append(got)
    return tally(heard)


def deep_json(server):
    """Nesting without end, in known and in unknown fields."""
    heard = []
    for field in ["input", "voice", "normalization_options", "voice_aliases", "unknown"]:
        for opening in ["[", '{"a":']:
            body = f'{{"input": "a", "x": 1, "{field}": ' + opening * 100_000
            heard.append(server.speak(body.encode())[0])
    assert set(heard) == {400}, heard
    closed = b'{"input": "a", "%b": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert server.speak(closed % b"voice_aliases")[0] == 400
    # What is unknown is skipped, however deep, and not kept.
    assert server.speak(closed % b"unknown")[0] == 200
    return tally(heard) + "; closed again and unknown: ignored"


def invalid_utf8_and_nuls(server):
    """Texts that are no text, or odd ones."""
    refused = [b'{"input": "a\xff\xfeb"}', b'{"input": "\xc3"}', b'{"input": "\xed\xa0\x80"}', b'{"input": "\\ud800"}',
               b'{"input": "\\udc00\\ud800"}', b'{"input": "a", "voice": "\xff"}']
    heard = [server.speak(text)[0] for text in refused]
    assert set(heard) == {400}, heard
    spoken = []
    for text in ["a\0b", "Hi.\u202e gnihtyna", "e" + "\u0301" * 20_000, "\ufeffHi.", "a\u2028b", "\x1b[31mred\x07",
                 "👩‍👩‍👧‍👦" * 5000 + " a", "\U0010ffff a", "ﷺ" * 1000 + " a", "a" + "\u200b" * 50_000 + "b"]:
        got, body = server.speak({"input": text, "response_format": "pcm"})
        spoken.append(got)
        assert got == 200 or json.loads(body)["error"]["param"] == "input", (text[:20], got, body[:200])
    return f"{len(heard)} × 400; odd characters: {tally(spoken)}"


def first_bytes(server, body):
    """The status, and when the first KiB of sound was there; then the client leaves."""
    begun = time.monotonic()
    stream = server.connect(60)
    stream.sendall(post(body))
    heard = bytearray()
    while len(heard) < 2048 and (part := stream.recv(4096)):
        heard += part
    stream.close()
    return status(bytes(heard)), time.monotonic() - begun


def long_texts(server):
    """The longest texts there may be, of the kinds that make readers stumble, and one longer."""
    told = []
    for name, text in {
        "words": "word " * 40_000, "one word": "a" * 200_000, "no vowels": "bcdfg" * 40_000, "digits": "9" * 200_000,
        "1e9s": "1e999999 " * 22_000, "dots": "." * 199_990 + " a", "spaces": " " * 199_000 + "a", "newlines": "a\n" * 100_000,
        "brackets": "[" * 199_000 + "a", "links": "[a](" * 50_000, "pauses": "[pause:60s]" * 18_000 + "a", "dollars": "$1," * 66_000,
        "addresses": "a@" * 99_000 + "a", "urls": "http://" * 28_000, "quotes": "\"'" * 99_000 + "a", "romans": "MDCLXVI" * 28_000,
        "emoji": "🙂a" * 100_000, "capitals": "A.B." * 50_000, "hyphens": "a-" * 100_000, "slashes": "1/2/" * 50_000,
    }.items():
        got, after = first_bytes(server, {"input": text, "response_format": "pcm"})
        assert got in (200, 400), (name, got)
        told.append((after, name, got))
        begun = time.monotonic()
        got, _ = server.request("POST", "/dev/phonemize", json.dumps({"text": text}).encode())
        took = time.monotonic() - begun
        assert got == 200 and took < 20, f"{name}: {got} after {took:.1f} s"
        told.append((took, name + " as phonemes", got))
    assert server.speak({"input": "a" * (MAX_CHARS + 1)})[0] == 400
    server.wait_for(lambda: server.inflight() == 0)
    slowest = sorted(told, reverse=True)[:3]
    return "slowest: " + ", ".join(f"{name} {after:.2f} s" for after, name, _ in slowest) + "; one more character: 400"


def extreme_numbers(server):
    """Numbers at and past the edges, in every field that takes one."""
    numbers = ["1e308", "1e999", "-1e999", "-0.0", "1e-320", "0", "-1", "18446744073709551616", "9223372036854775808",
               "4294967296", "1e5", "0.0000001", "true", '"1"', "[1]", "NaN", "Infinity"]
    heard = []
    for field in ["speed", "volume_multiplier", "seed", "sample_rate", "leading_silence", "trailing_silence"]:
        for number in numbers:
            got, body = server.speak(f'{{"input": "Hi.", "{field}": {number}}}'.encode())
            assert got in (200, 400), (field, number, got, body)
            heard.append(got)
    for weight in ["0", "-1", "1e38", "3e38", "1e39", "1e999", "nan", "inf", "1e-45", "1e-60", "", "1)(2", "9" * 200]:
        for mix in [f"am_rms({weight})", f"am_rms({weight})+af_slt({weight})", f"am_rms.{weight}"]:
            got, body = server.speak({"input": "Hi.", "voice": mix, "response_format": "pcm"})
            assert got in (200, 400), (mix, got, body)
            heard.append(got)
            assert got != 200 or any(body), f"{mix}: silence"
    return tally(heard)


def paths_in_names(server):
    """Names of voices, models and pages that are paths, or commands."""
    names = ["../../../../etc/passwd", "/etc/passwd", "..\\..\\x", "%2e%2e%2f", "am_rms/../am_rms", "am_rms\0", "am_rms\n",
             "./am_rms", "~root", "$(id)", "`id`", "|id", "..", ".", "＿", "ａｍ_rms", "am_rms.pt", "a" * 100_000,
             "+" * 200, "+".join(["am_rms"] * 5000), "(" * 200, "file:///etc/passwd", "http://127.0.0.1/"]
    heard = []
    for name in names:
        for field, wanted in [("voice", 400), ("model", 404)]:
            got, body = server.speak({"input": "Hi.", field: name})
            assert got == wanted or name == "am_rms\n" and got == 200, (field, name[:40], got, body[:200])
            assert b"root:" not in body and len(body) < 2000 or got == 200, "told too much"
            heard.append(got)
        made = {"name": name, "voice": "am_rms"}
        assert server.request("POST", "/v1/audio/voices/combine", json.dumps(made).encode())[0] == 400, name[:40]
    for path in ["/page/../../../etc/passwd", "/page/..%2f..%2fetc/passwd", "/page//etc/passwd", "/../etc/passwd",
                 "/v1/models/..%2f..%2fetc", "/page/%00", "/docs/../x", "//", "/v1/audio/voices/../../x", "/%ff%fe"]:
        stream = server.connect(5)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: koe\r\nConnection: close\r\n\r\n".encode())
        got = drain(stream)[0]
        assert status(got) in (400, 404) and b"root:" not in got, (path, got[:100])
        heard.append(status(got))
    return tally(heard)


def many_mixtures(server):
    """3,000 mixtures that nobody asked for before, and more names than there may be."""
    def one(i):
        return server.speak({"input": "Hi.", "voice": f"am_rms({i + 1})+af_slt(7)", "response_format": "pcm"})[0]
    with concurrent.futures.ThreadPoolExecutor(8) as many:
        heard = list(many.map(one, range(3000)))
    assert set(heard) == {200}, tally(heard)
    named = []
    for i in range(1100):
        made = json.dumps({"name": f"mix{i}", "voice": f"am_rms({i + 1})+af_slt(7)"}).encode()
        named.append(server.request("POST", "/v1/audio/voices/combine", made)[0])
    assert set(named) == {200, 400}, tally(named)
    return f"mixtures: {tally(heard)}; names: {tally(named)}"


def half_closed(server):
    """Clients that close their side after asking, and before."""
    heard = []
    for request in [post({"input": "Hi."}), post({"input": LONG}), head(length=100) + b"{", b"GET /", b""]:
        for _ in range(20):
            stream = server.connect(10)
            stream.sendall(request)
            stream.shutdown(socket.SHUT_WR)
            heard.append(status(drain(stream, 100_000)[0]) or "closed")
            stream.close()
    server.wait_for(lambda: server.inflight() == 0)
    assert "open" not in heard
    return tally(heard)


def hang_ups(server):
    """300 clients leave amid their sound, by closing, by resetting, and before it began."""
    def one(i):
        stream = server.connect()
        stream.sendall(post({"input": LONG, "response_format": ["pcm", "mp3", "opus", "flac", "aac", "wav"][i % 6],
                             "stream": i % 5 != 0}))
        if i % 3 and i % 5:
            stream.recv(4096)
        if i % 2:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
    with concurrent.futures.ThreadPoolExecutor(50) as many:
        list(many.map(one, range(300)))
    begun = time.monotonic()
    server.wait_for(lambda: server.inflight() == 0)
    return f"all work stopped {time.monotonic() - begun:.2f} s later"


def readers_that_stop(server):
    """12 clients ask for hours of sound in every way, and never read."""
    streams = []
    # The system takes megabytes for each before the server notices: sound that must first be made.
    for i in range(12):
        stream = server.connect()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        more = [{}, {"stream_format": "sse"}, {"response_format": "wav"}][i % 3]
        stream.sendall(post({"input": "On and on it goes. " * 10_000, "response_format": "pcm", "sample_rate": 48000, **more}))
        streams.append(stream)
    begun = time.monotonic()
    server.wait_for(lambda: server.inflight() >= 12)
    peak = []
    def gone():
        peak.append(server.memory())
        return server.inflight() == 0
    server.wait_for(gone, 180)
    return f"all cut off after {time.monotonic() - begun:.0f} s (--stall-timeout 5), at most {max(peak):.0f} MiB meanwhile"


def idle_sockets(server):
    """1,000 sockets that say nothing, and 1,000 that ask once and stay."""
    told = []
    for request in [b"", b"GET /health/live HTTP/1.1\r\nHost: koe\r\n\r\n"]:
        streams = [server.connect() for _ in range(1000)]
        for stream in streams:
            stream.sendall(request)
        begun = time.monotonic()
        assert server.get("/health/live", 2)[0] == 200, "not live meanwhile"
        live = time.monotonic() - begun
        begun = time.monotonic()
        for stream in streams:
            stream.settimeout(max(0.1, 30 - (time.monotonic() - begun)))
            assert drain(stream)[1] != "open", "never closed"
            stream.close()
        told.append(f"closed after {time.monotonic() - begun:.0f} s, /health/live in {live * 1e3:.0f} ms meanwhile")
    return "silent: " + told[0] + "; once: " + told[1]


def more_sockets_than_places(server):
    """1,500 silent sockets where 1,024 are served: the others' turn must come."""
    streams = [server.connect() for _ in range(1500)]
    begun = time.monotonic()
    assert server.get("/health/live", 40)[0] == 200
    took = time.monotonic() - begun
    for stream in streams:
        stream.close()
    return f"/health/live answered {took:.1f} s later"


def thousand_requests(server):
    """1,000 sockets, each with a request, at once."""
    streams = [server.connect(120) for _ in range(1000)]
    for stream in streams:
        stream.sendall(post({"input": "All of us at once.", "response_format": "pcm"}))
    begun = time.monotonic()
    heard = []
    for stream in streams:
        part = stream.recv(65536)
        heard.append(status(part))
        stream.close()
    took = time.monotonic() - begun
    assert set(heard) <= {200, 429, 503} and heard.count(200) >= MAX_REQUESTS // 2, tally(heard)
    server.wait_for(lambda: server.inflight() == 0)
    return f"{tally(heard)} in {took:.1f} s"


def pipelined(server):
    """100 requests in one breath, and 100 whose answers nobody waits for."""
    body = b"".join(post({"input": f"Number {i}.", "response_format": "pcm", "stream": False}) for i in range(100))
    stream = server.connect(60)
    stream.sendall(body + b"GET /health/live HTTP/1.1\r\nHost: koe\r\nConnection: close\r\n\r\n")
    heard, _ = drain(stream)
    count = len(re.findall(rb"HTTP/1\.1 200 OK\r\n", heard))
    assert count == 101 and heard.endswith(b"live\n"), count
    for _ in range(20):
        stream = server.connect(60)
        stream.sendall(body)
        stream.close()
    server.wait_for(lambda: server.inflight() == 0)
    return f"{count} × 200 in their order; 2,000 abandoned"


def open_socket(server, timeout=10.0):
    stream = server.connect(timeout)
    key = base64.b64encode(os.urandom(16))
    stream.sendall(b"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: koe\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n")
    heard = b""
    while b"\r\n\r\n" not in heard:
        part = stream.recv(1)
        assert part, heard
        heard += part
    assert status(heard) == 101, heard
    return stream


def frame(payload, opcode=1, final=True, masked=True, reserved=0, length=None):
    length = len(payload) if length is None else length
    first = (0x80 if final else 0) | reserved | opcode
    mask = 0x80 if masked else 0
    if length < 126:
        opening = struct.pack(">BB", first, mask | length)
    elif length < 1 << 16:
        opening = struct.pack(">BBH", first, mask | 126, length)
    else:
        opening = struct.pack(">BBQ", first, mask | 127, length)
    # A mask of zeros leaves the payload as it is.
    return opening + (b"\0" * 4 if masked else b"") + payload


def say(**message):
    return frame(json.dumps(message).encode())


def bad_frames(server):
    """Frames that the protocol forbids, each on a connection of its own."""
    text = b'{"type": "input_text.flush"}'
    heard = []
    for bad in [frame(text, masked=False), frame(text, opcode=3), frame(text, opcode=11), frame(text, reserved=0x70),
                frame(b"", length=(1 << 63) - 1), frame(b"", length=1 << 63), frame(b"x", length=1 << 32),
                frame(b"x" * 126, opcode=9), frame(b"x", opcode=9, final=False), frame(text, opcode=0),
                frame(text, final=False) + frame(text), frame(b"\xff\xfe"), frame(b"\x03", opcode=8),
                frame(b"\x00\x01", opcode=8), frame(b"\x03\xe8\xff", opcode=8), frame(b"x" * (300 << 10)),
                frame(b"x" * 1000, final=False) + frame(b"x" * 1000, opcode=0, final=False) * 400, os.urandom(10_000),
                b"GET / HTTP/1.1\r\nHost: koe\r\n\r\n" * 10]:
        stream = open_socket(server)
        try:
            stream.sendall(bad)
        except OSError:
            pass
        answer, how = drain(stream)
        heard.append(how)
        assert how != "open", bad[:20]
        stream.close()
    for good in [frame(b"", opcode=9), frame(b"{"), frame(b"[]"), frame(b"x", opcode=2), say(type="nonsense"),
                 say(type="input_text.append"), say(type="session.update", session={"voice": "nobody"}),
                 say(type="input_text.append", text="\0"), say(type="input_text.end"), say(type="input_text.cancel")]:
        stream = open_socket(server)
        stream.sendall(good + say(type="session.update", session={}))
        answer = b""
        while b"session.updated" not in answer:
            part = stream.recv(4096)
            assert part, (good, answer)
            answer += part
        stream.close()
    return f"{tally(heard)}; wrong messages are told and the connection goes on"


def socket_floods(server):
    """Messages without end on one connection, their answers unread: for two seconds each."""
    told = []
    append = say(type="input_text.append", text="a")
    for name, message in {
        "pings": frame(b"x" * 125, opcode=9), "cancels": say(type="input_text.cancel"), "flushes": say(type="input_text.flush"),
        "empty texts": append + say(type="input_text.append", text=""), "flushed texts": append + say(type="input_text.flush"),
        "letters": append, "updates": say(type="session.update", session={"voice": "am_rms"}),
        "mixtures": say(type="session.update", session={"voice": "am_rms(3)+af_slt(5)"}), "binary": frame(b"x" * 100, opcode=2),
        "begun and cancelled": append + say(type="input_text.cancel"), "empty frames": frame(b"", final=False) + frame(b"", opcode=0),
    }.items():
        stream, sent, block = open_socket(server, 2.0), 0, message * 500
        before = server.memory()
        end = time.monotonic() + 2
        try:
            while time.monotonic() < end:
                sent += stream.send(block)
        except OSError:
            pass
        grown = server.memory() - before
        assert grown < MAY_KEEP, f"{name}: {grown:.0f} MiB more"
        assert server.get("/health/live", 2)[0] == 200, name
        stream.close()
        told.append(f"{name} {sent // len(message)}")
    server.wait_for(lambda: server.inflight() == 0)
    return ", ".join(told)


def letter_by_letter(server):
    """The longest utterance, in 200,000 messages of one letter without a sentence's end."""
    stream = open_socket(server, 60)
    append = say(type="input_text.append", text="a") * 4 + say(type="input_text.append", text=" ")
    heard = []
    reader = threading.Thread(target=lambda: heard.append(drain(stream)))
    reader.start()
    cpu, begun = server.cpu(), time.monotonic()
    for _ in range(39):
        stream.sendall(append * 1000)
    took = time.monotonic() - begun
    stream.sendall(say(type="input_text.cancel") + frame(b"\x03\xe8", opcode=8))
    reader.join()
    server.wait_for(lambda: server.inflight() == 0)
    assert took < 30, f"{took:.1f} s"
    return f"195,000 messages in {took:.1f} s, {server.cpu() - cpu:.1f} s of processor with what was spoken"


def many_sockets_speak(server):
    """200 WebSockets speak at once, then leave in the middle."""
    streams = [open_socket(server) for _ in range(200)]
    for stream in streams:
        stream.sendall(say(type="input_text.append", text="On and on it goes. " * 200) + say(type="input_text.flush"))
    time.sleep(1)
    heard = [stream.recv(1 << 20) for stream in streams]
    refused = sum(b"queue_full" in part for part in heard)
    for stream in streams:
        stream.close()
    begun = time.monotonic()
    server.wait_for(lambda: server.inflight() == 0)
    return f"{refused} refused, all work stopped {time.monotonic() - begun:.2f} s later"


def stopped_under_load(koe):
    """SIGTERM while 60 streams run and others ask on: who runs may finish, who comes is refused."""
    server = Server(koe, "--drain-timeout", "90")
    streams = [server.connect(60) for _ in range(60)]
    for stream in streams:
        stream.sendall(post({"input": "On and on it goes. " * 20, "response_format": "pcm"}))
    server.wait_for(lambda: server.inflight() == 60)
    begun = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    # Who comes before the server heard of it is not late.
    server.wait_for(lambda: server.get("/health/ready")[0] == 503)
    late = []
    def ask():
        while server.process.poll() is None:
            try:
                late.append(server.speak({"input": "Too late."})[0])
            except (OSError, http.client.HTTPException):
                late.append("no answer")
            time.sleep(0.05)
    asking = threading.Thread(target=ask)
    asking.start()
    whole = 0
    for stream in streams:
        heard, _ = drain(stream)
        whole += status(heard) == 200 and heard.endswith(b"0\r\n\r\n")
    code = server.process.wait(30)
    asking.join()
    took = time.monotonic() - begun
    panics = b"panic" in server.said().lower()
    server.stop()
    assert whole == 60 and code == 0 and not panics, (whole, code, panics)
    assert late.count(503) and not late.count(200), tally(late)
    return f"60 whole answers, code {code} after {took:.1f} s; late ones: {tally(late)}"


def stopped_against_their_will(koe):
    """SIGTERM while 30 hours-long streams run and 10 clients do not read: the deadline ends it."""
    server = Server(koe, "--drain-timeout", "3")
    streams = [server.connect(60) for _ in range(40)]
    for stream in streams:
        stream.sendall(post({"input": LONG, "response_format": "pcm"}))
    server.wait_for(lambda: server.inflight() == 40)
    begun = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(30)
    took = time.monotonic() - begun
    whole = sum(drain(stream)[0].endswith(b"0\r\n\r\n") for stream in streams)
    server.stop()
    assert took < 6 and not whole, (took, whole)
    return f"ended after {took:.1f} s with code {code}, {whole} of 40 answers look whole"


def out_of_files(koe):
    """A server that may open 64 files, and 300 clients."""
    server = Server(koe, files=64)
    streams = []
    for i in range(300):
        stream = server.connect(30)
        stream.sendall(post({"input": "Hi.", "response_format": "pcm"}) if i % 2 else b"POST")
        streams.append(stream)
    time.sleep(2)
    cpu = server.cpu()
    time.sleep(2)
    busy = (server.cpu() - cpu) / 2
    heard = [status(drain(stream)[0]) for stream in streams[1::2]]
    for stream in streams:
        stream.close()
    assert server.wait_for(lambda: server.speak({"input": "Hi."})[0] == 200)
    files, panics = server.files(), b"panic" in server.said().lower()
    complaints = server.said().count(b"cannot accept")
    server.stop()
    assert not panics
    assert set(heard) <= {200, 408, 429, 503, None} and heard.count(200) > 20, tally(heard)
    return f"{tally(heard)}; {complaints} complaints, {busy * 100:.0f} % of a processor while full; served again after, {files} files open"


CASES = [malformed_http, malformed_json, deep_json, invalid_utf8_and_nuls, extreme_numbers, paths_in_names, huge_heads,
         huge_bodies, half_closed, hang_ups, pipelined, long_texts, bad_frames, socket_floods, letter_by_letter,
         many_sockets_speak, thousand_requests, many_mixtures, readers_that_stop, slow_heads_and_bodies, idle_sockets,
         more_sockets_than_places]
OWN_SERVER = [out_of_files, stopped_under_load, stopped_against_their_will]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--koe", default=os.path.join(os.path.dirname(__file__), "../target/release/koe"))
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    unknown = set(args.cases) - {case.__name__ for case in CASES + OWN_SERVER}
    assert not unknown, f"no case {', '.join(unknown)}"
    wanted = lambda case: not args.cases or case.__name__ in args.cases
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    failed = []
    server = Server(args.koe, "--stall-timeout", "5")
    fresh = server.memory()

    def run(case, *arguments):
        begun = time.monotonic()
        try:
            told = case(*arguments)
            if arguments == (server,):
                told += after(case)
        except Exception as error:
            traceback.print_exc()
            failed.append(case.__name__)
            print(f"FAIL {case.__name__}: {str(error) or type(error).__name__}", flush=True)
            return
        print(f"ok   {case.__name__} ({time.monotonic() - begun:.1f} s): {told}", flush=True)

    def after(case):
        begun = time.monotonic()
        got, _ = server.get("/health/live", 2)
        live = time.monotonic() - begun
        assert got == 200 and live < 0.5, f"/health/live: {got} after {live:.2f} s"
        server.wait_for(lambda: server.inflight() == 0)
        assert server.speak({"input": "Still here.", "response_format": "pcm"})[0] == 200
        assert b"panic" not in server.said().lower(), "a panic is in the log"
        peak, now = server.memory("VmHWM"), server.memory()
        assert peak < fresh + MAY_TAKE and now < fresh + 3 * MAY_KEEP, f"{now:.0f} MiB, at most {peak:.0f}"
        return f" [{now:.0f} MiB, at most {peak:.0f}; live in {live * 1e3:.0f} ms]"

    for case in filter(wanted, CASES):
        if server.process.poll() is not None:
            print(f"FAIL the server has ended: {server.said().decode(errors='replace')[-2000:]}")
            server = Server(args.koe, "--stall-timeout", "5")
        server.forget_peak()
        run(case, server)
    for case in filter(wanted, OWN_SERVER):
        run(case, args.koe)
    cpu = server.cpu()
    time.sleep(2)
    idle = (server.cpu() - cpu) / 2
    print(f"     at the end {server.memory():.0f} MiB (fresh {fresh:.0f}), {server.files()} files, "
          f"{idle * 100:.1f} % of a processor when idle")
    server.stop()
    if idle > 0.1 or failed:
        sys.exit("failed: " + (", ".join(failed) or "busy when idle"))


if __name__ == "__main__":
    main()
