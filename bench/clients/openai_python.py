"""OpenAI's own Python SDK against a running server.

    pip install -r bench/clients/requirements.txt
    python bench/clients/openai_python.py [--base http://127.0.0.1:8880/v1]

Every format is asked for whole and streamed, decoded by FFmpeg (PyAV) and compared with the
samples of `pcm`: nothing may be missing at either end. Then the errors that the SDK raises, and
a reader that leaves.
"""
import argparse
import asyncio
import base64
import json
import time

import openai

from common import FORMATS, TEXT, Checks, compare, samples


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="http://127.0.0.1:8880/v1")
    parser.add_argument("--key", default="none")
    args = parser.parse_args()
    client = openai.OpenAI(base_url=args.base, api_key=args.key)
    speak = lambda **more: client.audio.speech.create(
        **{"model": "tts-1", "voice": "alloy", "input": TEXT, **more})
    streaming = client.audio.speech.with_streaming_response.create
    pcm = speak(response_format="pcm").content
    reference = samples(pcm)
    check = Checks("openai-python")

    def a_format(form):
        whole = speak(response_format=form).content
        with streaming(model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format=form,
                       instructions="Cheerfully.") as answer:
            streamed = b"".join(answer.iter_bytes())
        assert whole == streamed, "what is streamed differs"
        return compare(form, streamed, reference)

    def events():
        with streaming(model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format="pcm",
                       stream_format="sse") as answer:
            events = [json.loads(line[6:]) for line in answer.iter_lines()
                      if line.startswith("data: ")]
        sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
        assert sound == pcm and events[-1]["type"] == "speech.audio.done", events[-1]
        return f"{len(events)} events, usage {events[-1]['usage']}"

    def models():
        assert "tts-1" in [model.id for model in client.models.list()]
        assert client.models.retrieve("kokoro").id == "kokoro"

    def refused(wanted, **request):
        try:
            speak(**request)
        except wanted as error:
            assert error.request_id, "an error without x-request-id"
            assert error.body["message"] and error.type == "invalid_request_error", error.body
            return f"{wanted.__name__}, param {error.param}, code {error.code}"
        raise AssertionError(f"no {wanted.__name__}")

    def voices():
        names = ["alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage",
                 "shimmer", "verse", "marin", "cedar", {"id": "alloy"}]
        for voice in names:
            assert len(speak(voice=voice, input="Hi.").content) > 1000, voice

    async def together():
        many = openai.AsyncOpenAI(base_url=args.base, api_key=args.key)
        answers = await asyncio.gather(*[
            many.audio.speech.create(model="tts-1", voice="alloy", input=TEXT,
                                     response_format="pcm") for _ in range(8)])
        assert all(answer.content == pcm for answer in answers), "a request disturbed another"

    def leave():
        begun = time.monotonic()
        with streaming(model="tts-1", voice="alloy", input="On and on it goes. " * 5000,
                       response_format="pcm") as answer:
            next(answer.iter_bytes(4096))
        with streaming(model="tts-1", voice="alloy", input="And now this.",
                       response_format="pcm") as answer:
            assert len(answer.read()) > 10000
        return f"{time.monotonic() - begun:.2f} s until another was served"

    for form in FORMATS:
        check(f"{form} whole and streamed", a_format, form)
    check("server-sent events", events)
    check("models", models)
    check("an unknown voice", lambda: refused(openai.BadRequestError, voice="nobody"))
    check("a wrong speed", lambda: refused(openai.BadRequestError, speed=9))
    check("no text", lambda: refused(openai.BadRequestError, input=""))
    check("an unknown model", lambda: refused(openai.NotFoundError, model="whisper-1"))
    check("all thirteen voices, and one as an object", voices)
    check("eight at once", lambda: asyncio.run(together()))
    check("a reader who leaves", leave)
    check.end()


if __name__ == "__main__":
    main()
