"""What Kokoro-FastAPI's documentation has its users send, against a running server.

    pip install -r bench/clients/requirements.txt
    python bench/clients/kokoro_fastapi.py [--url http://127.0.0.1:8880]

The requests have the shape of that project's examples (its README and its integration guides);
the voices are two of those that the server lists, so that it runs with any model. What koe
refuses on purpose must be refused in words; what it does not heed must be said in the answer.
"""
import argparse
import base64
import json

import numpy as np
import requests

from common import FORMATS, TEXT, Checks, compare, decode, samples

MEDIA = {"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac",
         "wav": "audio/wav", "pcm": "audio/pcm; rate=24000; channels=1"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8880")
    parser.add_argument("--key", default="none")
    args = parser.parse_args()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {args.key}"
    check = Checks("kokoro-fastapi")

    def ask(path, body, **more):
        answer = session.post(args.url + path, json=body, timeout=120, **more)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer

    def speak(**more):
        body = {"model": "kokoro", "input": TEXT, "voice": first, "response_format": "pcm"}
        return ask("/v1/audio/speech", {**body, **more})

    listed = session.get(args.url + "/v1/audio/voices", timeout=10).json()["voices"]
    model = listed[0].get("model")
    names = [voice["id"] for voice in listed
             if voice.get("model") == model and voice["id"][0] in "ab"]
    first, second = ("af_bella", "af_sky") if "af_bella" in names else names[:2]
    reference = samples(speak().content)

    def voices():
        assert all(voice["id"] == voice["name"] for voice in listed)
        legacy = session.get(args.url + "/v1/audio/voices?legacy=true", timeout=10).json()
        assert legacy["voices"] == [voice["id"] for voice in listed], legacy
        return f"{len(listed)} voices, {first} and {second} are used"

    def a_format(form):
        body = {"input": TEXT, "voice": first, "response_format": form, "speed": 1.0}
        whole = speak(**body)
        assert whole.headers["content-type"] == MEDIA[form], whole.headers["content-type"]
        assert f"speech.{form}" in whole.headers["content-disposition"]
        with ask("/v1/audio/speech", body, stream=True) as answer:
            streamed = b"".join(answer.iter_content(chunk_size=1024))
        assert streamed == whole.content, "what is streamed differs"
        at_once = speak(**body, stream=False)
        assert int(at_once.headers["content-length"]) == len(at_once.content)
        if form == "pcm":
            assert at_once.content == streamed
            return f"{len(streamed)} bytes"
        compare(form, at_once.content, reference)
        return compare(form, streamed, reference)

    def mixtures():
        alone = [speak(voice=voice).content for voice in (first, second)]
        mixed = [speak(voice=voice).content for voice in (
            f"{first}+{second}", f"{first}(1)+{second}(1)", f"{first}(2)+{second}(1)",
            f"{first}(1)+{second}(2)")]
        assert mixed[0] == mixed[1], "equal weights are not those of a plain mixture"
        assert len({*alone, *mixed}) == 5, "a mixture sounds like another"

    def combine():
        mix = f"{first}(2)+{second}(1)"
        made = ask("/v1/audio/voices/combine", mix).json()
        assert speak(voice=made["id"]).content == speak(voice=mix).content
        made = ask("/v1/audio/voices/combine", [first, second]).json()
        assert speak(voice=made["id"]).content == speak(voice=f"{first}+{second}").content
        ask("/v1/audio/voices/combine", {"name": "combined_voice", "voice": mix})
        assert speak(voice="combined_voice").content == speak(voice=mix).content
        names = session.get(args.url + "/v1/audio/voices", timeout=10).json()["voices"]
        made = next(voice for voice in names if voice["id"] == "combined_voice")
        # What the list calls its model must be understood in a request.
        speak(voice=made["id"], model=made["model"])

    def every_listed_model():
        for voice in session.get(args.url + "/v1/audio/voices", timeout=10).json()["voices"]:
            if voice["id"][:1] in "ab":
                speak(input="Hi.", voice=voice["id"], model=voice["model"])
        models = [one["id"] for one in session.get(args.url + "/v1/models", timeout=10).json()["data"]]
        for model in ["tts-1", "tts-1-hd", "kokoro"]:
            assert model in models, models
            assert session.get(f"{args.url}/v1/models/{model}", timeout=10).json()["id"] == model

    def captions(streams):
        body = {"model": "kokoro", "input": TEXT, "voice": first, "speed": 1.0,
                "response_format": "mp3", "stream": streams}
        with ask("/dev/captioned_speech", body, stream=streams) as answer:
            if streams:
                lines = [json.loads(line) for line in answer.iter_lines(decode_unicode=True) if line]
            else:
                lines = [json.loads(answer.content)]
        sound = b"".join(base64.b64decode(line["audio"].encode()) for line in lines)
        assert {line["audio_format"] for line in lines} == {"audio/mpeg"}
        words = [word for line in lines for word in line["timestamps"]]
        compare("mp3", sound, reference)
        time = 0
        for word in words:
            assert time <= word["start_time"] < word["end_time"] <= len(reference) / 24000, word
            time = word["start_time"]
        text = [word["word"] for word in words]
        assert text[:3] == ["The", "quick", "brown"] and text[-1] == "sun", text
        return f"{len(lines)} objects, {len(words)} words"

    def no_captions():
        body = {"input": TEXT, "voice": first, "return_timestamps": False, "stream": False}
        assert ask("/dev/captioned_speech", body).json()["timestamps"] is None

    def phonemes():
        said = ask("/dev/phonemize", {"text": "Hello world!", "language": "a"}).json()
        assert said["phonemes"] and said["tokens"], said
        sound = ask("/dev/generate_from_phonemes", {"phonemes": said["phonemes"], "voice": first},
                    headers={"Accept": "audio/wav"})
        assert sound.headers["content-type"] == "audio/wav"
        spoken, usual = decode(sound.content), samples(speak(input="Hello world!").content)
        assert len(spoken) == len(usual) and np.abs(spoken - usual).max() < 1e-3
        return said["phonemes"]

    def markup():
        sound = np.abs(samples(speak(input="Hello world! [pause:1s] Again.").content))
        loud = np.flatnonzero(sound > 0.01)
        rest = np.diff(loud).max() / 24000
        assert 1.0 <= rest < 1.3, f"a rest of {rest} s"
        assert speak(input="[pause:0.5s] First.").content
        said = ask("/dev/phonemize", {"text": "The city of [Worcester](/wˈʊstəɹ/) is easy."})
        assert "wˈʊstəɹ" in said.json()["phonemes"], said.text

    def dialogue():
        turns = [{"voice": first, "text": "Did it land?"}, {"voice_id": second, "text": "It did."}]
        body = {"turns": turns, "pause_between_turns": 0.4, "response_format": "wav"}
        sound = decode(ask("/dev/dialogue", body).content)
        del body["pause_between_turns"]
        closer = decode(ask("/dev/dialogue", {**body, "inputs": None}).content)
        assert abs(len(sound) - len(closer) - 9600) < 240, len(sound) - len(closer)
        assert session.post(args.url + "/dev/dialogue", json={"turns": []}, timeout=10).status_code == 400

    def options():
        usual = speak().content
        assert speak(voice=None, lang_code="a").content
        assert len(speak(speed=2.0).content) < 0.7 * len(usual)
        louder = np.abs(samples(speak(volume_multiplier=0.5).content)).max()
        assert 0.4 < louder / np.abs(reference).max() < 0.6, louder
        link = speak(return_download_link=True)
        assert link.headers["x-download-status"] == "unavailable"
        # What koe does anyway needs no remark, and all else gets one.
        heeded = speak(normalization_options={"normalize": True, "url_normalization": True})
        assert heeded.content == usual and "x-koe-ignored" not in heeded.headers
        ignored = speak(normalization_options={"normalize": False, "unit_normalization": False},
                        instructions="Whisper.")
        said = ignored.headers["x-koe-ignored"].split(", ")
        assert said == ["instructions", "normalization_options.normalize",
                        "normalization_options.unit_normalization"], said
        return ", ".join(said)

    def refused(body, status, param):
        answer = session.post(args.url + "/v1/audio/speech", json={"input": "Hi.", **body}, timeout=10)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (status, param), answer.text
        assert "koe " not in error["message"], "a command is no help over HTTP"
        return error["message"]

    check("voices", voices)
    for form in [*FORMATS, "pcm"]:
        check(f"{form} as requests streams it, and at once", a_format, form)
    check("mixtures", mixtures)
    check("combine", combine)
    check("every voice with the model that the list names", every_listed_model)
    check("captions at once", captions, False)
    check("captions streamed", captions, True)
    check("captions without times", no_captions)
    check("phonemes there and back", phonemes)
    check("pauses and pronunciations in the text", markup)
    check("dialogue", dialogue)
    check("options, and a word on those that are not heeded", options)
    check("an unknown voice", refused, {"voice": "af_nobody"}, 400, "voice")
    check("an unknown model", refused, {"model": "whisper-1"}, 404, "model")
    check("SSML", refused, {"ssml": True}, 400, "ssml")
    check("voice tags", refused, {"allow_voice_tags": True}, 400, "allow_voice_tags")
    check("probes", lambda: (session.get(args.url + "/health", timeout=10).json()["status"]))
    check.end()


if __name__ == "__main__":
    main()
