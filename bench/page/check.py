"""Drives the page of a running koe server in a real Chromium and holds it to what it promises.

    python bench/page/check.py --url http://127.0.0.1:8880 [--shots DIR] [--only WORD] [--key KEY]

Needs `pip install playwright` and a Chromium (`--chromium` names one; else Playwright's own). What is
heard is what the page schedules into its AudioContext, compared sample by sample with what the server
gives to a plain request. Answers that a healthy server does not give (401, 429, a stream that breaks,
another server's status) are put in the server's mouth. Prints a line a claim; exits 1 if one fails.
"""

import argparse
import ast
import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from fakes import FULL_STATUS, KOKORO_VOICES, STRANGE_STATUSES

RATE = 24_000
LONG = "The quick brown fox jumps over the lazy dog, and then it does so again. " * 40

# Runs in the page before its own scripts: notes what is scheduled, and what the browser complains of.
SPY = """
window.spy = { blocks: [], stopped: 0, violations: [], lit: [], context: null };
document.addEventListener('securitypolicyviolation', (e) => spy.violations.push(e.violatedDirective + ' ' + e.blockedURI));
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  spy.context = this.context;
  const samples = Array.from(this.buffer.getChannelData(0), (x) => Math.round(x * 32768));
  spy.blocks.push({ when, now: this.context.currentTime, rate: this.buffer.sampleRate, contextRate: this.context.sampleRate, samples });
  return start.call(this, when, ...rest);
};
const stop = AudioBufferSourceNode.prototype.stop;
AudioBufferSourceNode.prototype.stop = function (...rest) { spy.stopped += 1; return stop.call(this, ...rest); };
let last = null;
(function watch() {
  const word = document.querySelector('#transcript .now')?.dataset.word ?? null;
  if (word !== last && word !== null) spy.lit.push([Number(word), spy.context ? spy.context.currentTime : 0]);
  last = word;
  requestAnimationFrame(watch);
})();
"""

CLAIMS = []


def claim(check):
    CLAIMS.append(check)
    return check


class Bench:
    """One page in one browser context, and plain requests beside it."""

    def __init__(self, browser, options, **context):
        self.url, self.key, self.shots = options.url.rstrip("/"), options.key, options.shots
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints, self.requests, self.aborted = [], [], []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("requestfailed", lambda request: self.aborted.append((request.url, request.failure)))
        self.page.add_init_script(SPY)
        if self.key:
            self.page.add_init_script(f"sessionStorage.setItem('koe-api-key', {json.dumps(self.key)})")

    def _console(self, message):
        # The browser itself notes each answer that is no success; some are asked for here.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def open(self, path="/"):
        self.page.goto(self.url + path)
        self.until("document.querySelectorAll('#voice-list input').length > 0")
        return self.page

    def ask(self, path, body=None):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body is not None else None)
        request.add_header("Content-Type", "application/json")
        if self.key:
            request.add_header("Authorization", f"Bearer {self.key}")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.headers, answer.read()

    def events(self, body):
        """The events that a plain request for a stream gets."""
        text = self.ask("/v1/audio/speech", body)[1].decode()
        return [json.loads(part[6:]) for part in text.replace("\r", "").split("\n\n") if part.startswith("data: {")]

    def speak(self, text, wait=True):
        """Presses Speak; returns the body that the page posted."""
        self.page.fill("#text", text)
        self.page.evaluate("spy.blocks = []; spy.lit = []; spy.stopped = 0")
        with self.page.expect_request("**/v1/audio/speech") as asked:
            self.page.click("#speak")
        if wait:
            self.until("document.querySelector('#stop').disabled")
        return asked.value.post_data_json

    def until(self, condition, seconds=90):
        """Waits until an expression of JavaScript is true. Playwright's own way to wait needs `eval`,
        which the page's policy forbids, and rightly."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            self.page.wait_for_timeout(30)

    def until_aborted(self, n):
        """Waits until so many requests for speech have been given up by the page."""
        end = time.monotonic() + 20
        while sum("ABORTED" in why and url.endswith("/v1/audio/speech") for url, why in self.aborted) < n:
            assert time.monotonic() < end, f"the page goes on asking: {self.aborted}"
            self.page.wait_for_timeout(30)

    def next_status(self, n=1):
        """Waits for so many more answers about the server's state."""
        for _ in range(n):
            with self.page.expect_response("**/status"):
                pass

    def heard(self):
        return self.page.evaluate("spy.blocks")

    def error(self):
        return self.page.inner_text("#error") if self.page.is_visible("#error") else ""

    def shot(self, name, full=True):
        if self.shots:
            self.page.screenshot(path=str(Path(self.shots) / f"{name}.png"), full_page=full)

    def close(self):
        complaints = self.complaints + self.page.evaluate("window.spy ? spy.violations : []")
        self.context.close()
        assert not complaints, f"the browser complains: {complaints}"


def pcm(data):
    return list(struct.unpack(f"<{len(data) // 2}h", data[: len(data) // 2 * 2]))


@claim
def it_loads_from_this_server_alone_under_a_strict_policy(bench):
    headers, _ = bench.ask("/")
    policy = headers.get("Content-Security-Policy", "")
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"):
        assert part in policy, f"the policy lacks {part}: {policy!r}"
    page = bench.open()
    assert "unsafe" not in policy, policy
    strangers = [request.url for request in bench.requests if not request.url.startswith((bench.url, "data:", "blob:"))]
    assert not strangers, strangers
    listed = [voice["name"] for voice in json.loads(bench.ask("/v1/audio/voices")[1])["voices"]]
    shown = page.eval_on_selector_all("#voice-list b", "all => all.map((one) => one.textContent)")
    assert shown == listed, (shown, listed)


@claim
def what_is_heard_is_what_the_server_made_without_a_gap_of_its_own(bench):
    bench.open()
    body = bench.speak("Hello there. This is what the server made, and nothing else.")
    assert bench.error() == "", bench.error()
    blocks = bench.heard()
    heard = [sample for block in blocks for sample in block["samples"]]
    plain = {name: field for name, field in body.items() if name not in ("stream_format", "return_timestamps")}
    made = pcm(bench.ask("/v1/audio/speech", plain)[1])
    assert len(made) > RATE and heard == made, f"heard {len(heard)} samples, made {len(made)}; the same: {heard == made}"
    end = None
    for block in blocks:
        assert block["rate"] == RATE
        if end is not None and abs(block["when"] - end) > 1e-6:
            # Sound that came too late starts later; it must never overlap, nor leave a gap before its time.
            assert block["when"] > end and block["now"] > end - 2 / RATE, (block["when"], end, block["now"])
        end = block["when"] + len(block["samples"]) / RATE
    assert "First sound after" in bench.page.inner_text("#figures")


@claim
def words_are_lit_in_order_and_never_before_they_sound(bench):
    page = bench.open()
    # An emoji is two units of JavaScript's and one code point of the server's.
    text = "First 😀 second, «third» and naïve fourth.\nThen the fifth, at 9:30."
    body = bench.speak(text)
    assert bench.error() == "", bench.error()
    events = bench.events(body)
    words = [word for event in events if event["type"] == "speech.audio.words" for word in event["words"]]
    assert len(words) >= 8, words
    shown = page.eval_on_selector_all("#transcript span", "all => all.map((one) => one.textContent)")
    assert shown == [text[word["char_start"] : word["char_end"]] for word in words], (shown, words)
    assert page.evaluate("document.querySelector('#transcript').textContent") == text
    lit, blocks = page.evaluate("spy.lit"), bench.heard()
    order = [index for index, _ in lit]
    assert order == sorted(order) and len(set(order)) >= len(words) // 2, order
    started = blocks[0]["when"]
    for index, at in lit:
        assert at - started > words[index]["start_time"] - 0.05, (words[index], at - started)
    assert page.locator("#transcript span.said").count() == len(words)
    if any(event["type"] == "speech.audio.note" for event in events):
        assert page.is_visible("#notes") and "😀" in page.inner_text("#notes"), page.inner_text("#notes")


@claim
def a_click_on_a_word_and_the_keys_go_there(bench):
    page = bench.open()
    body = bench.speak("One two three four five six seven eight nine ten.")
    words = [w for e in bench.events(body) if e["type"] == "speech.audio.words" for w in e["words"]]
    whole = [sample for block in bench.heard() for sample in block["samples"]]
    page.evaluate("spy.blocks = []")
    page.locator("#transcript span").nth(5).click()
    bench.until("spy.blocks.length > 0")
    block = bench.heard()[0]["samples"]
    at = round((words[5]["start_time"] + 0.001) * RATE)
    assert block[:2000] == whole[at : at + 2000], "the sound does not go on at the word"
    page.click("#play")
    page.focus("#wave")
    page.keyboard.press("Home")
    bench.until("document.querySelector('#wave').ariaValueNow === '0'")
    page.keyboard.press("ArrowRight")
    bench.until("document.querySelector('#wave').ariaValueNow === '1'")
    page.focus("#transcript")
    page.keyboard.press("ArrowRight")
    bench.until("document.querySelectorAll('#transcript .said').length > 1")
    page.evaluate("spy.blocks = []")
    bench.until("document.querySelector('#stop').disabled")
    page.click("#play")
    bench.until("spy.blocks.length > 0")
    assert bench.heard()[0]["samples"][:2000] == whole[:2000], "what has ended does not start again from its beginning"


@claim
def stop_ends_the_sound_and_the_work(bench):
    page = bench.open()
    # So long that it is not all there before the browser gets to the button.
    bench.speak(LONG * 20, wait=False)
    bench.until("spy.blocks.length > 0")
    page.click("#stop")
    bench.until("document.querySelector('#stop').disabled")
    assert page.evaluate("spy.stopped") > 0
    n_blocks = len(bench.heard())
    bench.until_aborted(1)
    assert len(bench.heard()) == n_blocks, "sound is scheduled after Stop"
    assert bench.error() == "", bench.error()
    # Before anything came, as when the server is busy.
    page.route("**/v1/audio/speech", lambda route: None)
    bench.speak(LONG, wait=False)
    page.click("#stop")
    bench.until_aborted(2)
    page.unroute_all()
    body = bench.speak("And again.")
    made = pcm(bench.ask("/v1/audio/speech", {k: v for k, v in body.items() if k not in ("stream_format", "return_timestamps")})[1])
    assert [sample for block in bench.heard() for sample in block["samples"]] == made, "what was stopped is heard in the next"


@claim
def voices_are_mixed_by_list_slider_and_typing(bench):
    page = bench.open()
    names = page.eval_on_selector_all("#voice-list input", "all => all.map((one) => one.value)")
    models = {v["name"]: v.get("model") for v in json.loads(bench.ask("/v1/audio/voices")[1])["voices"]}
    one = page.input_value("#voice")
    other = next(name for name in names if name != one and models[name] == models[one])
    page.check("#mix")
    page.check(f"#voice-list input[value='{other}']")
    assert page.input_value("#voice") == f"{one}(1)+{other}(1)"
    slider = page.get_by_label(f"Weight of {one}")
    slider.evaluate("(it) => { it.value = 2; it.dispatchEvent(new Event('input', { bubbles: true })); }")
    assert page.input_value("#voice") == f"{one}(2)+{other}(1)"
    assert page.locator(".part output").first.inner_text() == "67%"
    assert bench.speak("A mixture.")["voice"] == f"{one}(2)+{other}(1)"
    assert bench.error() == "", bench.error()
    bench.shot("mix")
    page.fill("#voice", f"{other}(3)+{one}(1.5)")
    assert page.get_by_label(f"Weight of {other}").input_value() == "3"
    assert page.get_by_label(f"Weight of {one}").input_value() == "1.5"
    page.get_by_label(f"Leave out {other}").click()
    assert page.input_value("#voice") == one
    page.uncheck("#mix")
    page.check(f"#voice-list input[value='{other}']")
    assert page.input_value("#voice") == other and page.locator("#voice-list input:checked").count() == 1


@claim
def every_format_can_be_kept_and_the_code_says_the_same(bench):
    page = bench.open()
    page.fill("#seed", "7") if page.is_visible("#seed") else page.evaluate("document.querySelector('#seed').value = 7")
    body = bench.speak("It's a \"test\" of $files & `code`.")
    magic = {
        "mp3": lambda d: d[:3] == b"ID3" or (d[0] == 0xFF and d[1] & 0xE0 == 0xE0), "opus": lambda d: d[:4] == b"OggS",
        "aac": lambda d: d[0] == 0xFF and d[1] & 0xF6 == 0xF0, "flac": lambda d: d[:4] == b"fLaC",
        "wav": lambda d: d[:4] == b"RIFF" and d[8:12] == b"WAVE", "srt": lambda d: d[:2] == b"1\n" or d[:3] == b"1\r\n",
        "vtt": lambda d: d[:6] == b"WEBVTT", "json": lambda d: len(json.loads(d)["words"]) > 3,
        "pcm": lambda d: pcm(d) == [sample for block in bench.heard() for sample in block["samples"]],
    }
    for format, fits in magic.items():
        with page.expect_download() as saved:
            page.click(f"#formats button[data-format={format}]")
        data = Path(saved.value.path()).read_bytes()
        assert saved.value.suggested_filename.endswith(f".{format}"), saved.value.suggested_filename
        assert fits(data), f"{format}: {data[:16]!r}"
    page.click(".code summary")
    code = {}
    for language in ("curl", "Python", "JavaScript"):
        page.get_by_role("button", name=language, exact=True).click()
        page.click("#copy")
        bench.until("document.querySelector('#copy').textContent !== 'Copy'")
        code[language] = page.inner_text("#code")
        assert page.evaluate("navigator.clipboard.readText()") == code[language]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["bash", "-c", code["curl"].replace("curl ", "curl -sSf ", 1)], cwd=folder, check=True, env={**os.environ, "KOE_API_KEY": bench.key})
        assert magic["mp3"]((Path(folder) / "speech.mp3").read_bytes())
        call = next(node for node in ast.walk(ast.parse(code["Python"])) if isinstance(node, ast.Call) and "create" in ast.unparse(node.func))
        said = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        assert said["input"] == body["input"] and said["voice"] == body["voice"], said
        assert said["extra_body"]["seed"] == body["seed"] == 7, said
        if node := shutil.which("node"):
            (Path(folder) / "speech.mjs").write_text(code["JavaScript"])
            subprocess.run([node, "--check", "speech.mjs"], cwd=folder, check=True)


@claim
def what_goes_wrong_is_said_in_words(bench):
    page = bench.open()
    page.fill("#voice", "nobody_at_all")
    assert "nobody_at_all" in page.inner_text("#voice-hint")
    bench.speak("Who?")
    assert "nobody_at_all" in bench.error(), bench.error()
    assert page.is_hidden("#player")
    bench.shot("error")
    page.fill("#text", "  ")
    page.click("#speak")
    assert "nothing to speak" in bench.error()

    def answer(status, body, **headers):
        page.unroute_all()
        page.route("**/v1/audio/speech", lambda route: route.fulfill(status=status, headers=headers, body=body))
        bench.speak("Now.")
        return bench.error()

    wrong = json.dumps({"error": {"message": "too much to do", "type": "overloaded", "param": None, "code": "queue_full"}})
    assert answer(429, wrong, **{"Retry-After": "3"}) == "Too much to do. Try again in 3 seconds."
    assert "502" in answer(502, "<html>a proxy</html>")
    sound = json.dumps({"type": "speech.audio.delta", "audio": base64.b64encode(bytes(9600)).decode()})
    broken = json.dumps({"type": "error", "error": {"message": "the voice broke", "type": "server_error", "param": None, "code": None}})
    assert answer(200, f"data: {sound}\n\ndata: {broken}\n\n") == "The voice broke."
    assert len(bench.heard()) == 1, "what came before the failure is not heard"
    assert "ended before all was spoken" in answer(200, f": a comment\r\ndata: {sound}\r\n\r\n")
    page.unroute_all()
    page.route("**/v1/audio/speech", lambda route: route.abort())
    bench.speak("Now.")
    assert "cannot be reached" in bench.error()


@claim
def a_key_is_asked_for_and_sent(bench):
    page, keys = bench.page, []

    def guard(route):
        keys.append(route.request.headers.get("authorization"))
        if keys[-1] == "Bearer open sesame":
            return route.fulfill(json={"voices": KOKORO_VOICES} if "voices" in route.request.url else FULL_STATUS)
        refusal = {"error": {"message": "an API key is needed", "type": "authentication_error", "param": None, "code": "invalid_api_key"}}
        route.fulfill(status=401, json=refusal)

    page.add_init_script("sessionStorage.removeItem('koe-api-key')")
    page.route("**/v1/**", guard)
    page.route("**/status", guard)
    page.goto(bench.url)
    page.wait_for_selector("#key-form", state="visible")
    bench.shot("key")
    page.fill("#key", "open sesame")
    page.keyboard.press("Enter")
    bench.until("document.querySelectorAll('#voice-list input').length > 40")
    assert page.is_hidden("#key-form") and keys[0] is None
    assert page.evaluate("Object.values(localStorage).concat(document.cookie).join()").find("sesame") < 0


@claim
def many_voices_are_found_by_text_language_and_gender(bench):
    page = bench.page
    page.route("**/v1/audio/voices", lambda route: route.fulfill(json={"voices": KOKORO_VOICES}))
    bench.open()
    assert page.input_value("#voice") == "af_heart"
    visible = lambda: [name for name in page.eval_on_selector_all("#voice-list label:not([hidden]) b", "all => all.map((b) => b.textContent)")]
    assert len(visible()) == len(KOKORO_VOICES)
    bench.shot("voices")
    page.select_option("#by-language", "British English")
    page.select_option("#by-gender", "female")
    assert visible() and all(name.startswith("bf_") for name in visible()), visible()
    page.fill("#find", "emma")
    assert visible() == ["bf_emma"]
    page.fill("#find", "xyz")
    assert visible() == [] and "No voice" in page.inner_text("#voice-count")


@claim
def the_server_page_asks_while_it_is_seen_and_shows_whatever_comes(bench):
    page = bench.open("/#server")
    page.wait_for_selector("#cards .card")
    n_asked = lambda: sum(request.url.endswith("/status") for request in bench.requests)
    bench.until("document.querySelector('#state').textContent.includes('Ready')")
    before = n_asked()
    bench.next_status(2)
    assert n_asked() >= before + 1
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(1500)
    before = n_asked()
    page.wait_for_timeout(2500)
    assert n_asked() == before, "it asks while nobody looks"
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    bench.next_status()
    for strange in STRANGE_STATUSES:
        page.unroute_all()
        page.route("**/status", lambda route: route.fulfill(json=strange))
        bench.next_status(2)
        assert page.inner_text("#state").strip() != "", strange
    page.unroute_all()
    page.route("**/status", lambda route: route.fulfill(json=FULL_STATUS))
    page.route("**/optimization/summary", lambda route: route.fulfill(json={}))
    bench.until("document.querySelector('#cards').textContent.includes('avx512')")
    words = page.inner_text("#cards")
    for part in ("avx512", "8 MB of 8.2 MB", "61 ms", "Hit rate", "3.2 ms", "Answered 429", "1 of 8"):
        assert part in words, f"{part!r} is not in {words!r}"
    assert FULL_STATUS["model"]["notice"] in page.inner_text("#notice")
    page.unroute_all()
    page.route("**/status", lambda route: route.abort())
    bench.until("document.querySelector('#state').textContent.includes('cannot be reached')")


@claim
def keys_alone_suffice_and_every_control_has_a_name(bench):
    page = bench.open()
    nameless = page.evaluate("""[...document.querySelectorAll('button, input, select, textarea, [role=slider], [role=group]')]
      .filter((it) => !(it.ariaLabel || it.labels?.length || it.getAttribute('aria-labelledby') || it.textContent.trim()))
      .map((it) => it.outerHTML)""")
    assert not nameless, nameless
    page.focus("#text")
    page.keyboard.press("Control+Enter")
    bench.until("spy.blocks.length > 0")
    page.click("#stop")
    page.focus("#tab-speak")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#panel-server") and page.evaluate("document.activeElement.id") == "tab-server"
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#panel-speak")
    page.focus("#speed")
    page.keyboard.press("Home")
    assert page.inner_text("#speed-shown") == "0.25×"
    page.keyboard.press("End")
    assert page.inner_text("#speed-shown") == "4×"


@claim
def colours_are_chosen_and_kept(bench):
    page = bench.open()
    paper = lambda: page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    light = paper()
    page.click("#theme")
    assert paper() == light
    page.click("#theme")
    dark = paper()
    assert dark != light
    page.reload()
    assert paper() == dark and "dark" in page.get_attribute("#theme", "aria-label")


def looks(browser, options):
    """Screenshots, and that nothing is wider than the screen."""
    for scheme in ("light", "dark"):
        for name, width, height in (("wide", 1280, 900), ("narrow", 360, 740)):
            bench = Bench(browser, options, viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=2 if width < 600 else 1)
            page = bench.open()
            bench.shot(f"{name}-{scheme}-fresh")
            page.click("#speak")
            bench.until("document.querySelectorAll('#transcript .said').length > 9")
            page.click("#play")
            page.wait_for_timeout(1500)
            page.click(".code summary")
            bench.shot(f"{name}-{scheme}-speak")
            for tab in ("speak", "server"):
                page.click(f"#tab-{tab}")
                page.wait_for_timeout(300)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{tab} is {wide} px wide on a screen of {width}"
            page.route("**/status", lambda route: route.fulfill(json=FULL_STATUS))
            bench.until("document.querySelector('#cards').textContent.includes('Keep alive')")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            bench.shot(f"{name}-{scheme}-server")
            bench.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--shots", help="a folder for screenshots")
    parser.add_argument("--only", default="", help="only claims with this in their name")
    parser.add_argument("--key", default="")
    options = parser.parse_args()
    if options.shots:
        Path(options.shots).mkdir(parents=True, exist_ok=True)
    failed = 0
    with sync_playwright() as playwright:
        # Sound without a click is allowed, so that a check may press keys instead; a container has no sandbox to offer.
        arguments = ["--autoplay-policy=no-user-gesture-required", "--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=options.chromium, args=arguments)
        for check in [*CLAIMS, looks]:
            if options.only not in check.__name__:
                continue
            try:
                if check is looks:
                    looks(browser, options)
                else:
                    bench = Bench(browser, options)
                    try:
                        check(bench)
                    except BaseException:
                        bench.shot(f"failed-{check.__name__}")
                        bench.context.close()
                        raise
                    bench.close()
                print(f"ok    {check.__name__}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {check.__name__}\n{traceback.format_exc(limit=-2)}", flush=True)
        browser.close()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
