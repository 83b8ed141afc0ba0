"""OpenAI's own Python SDK against a running server.

    pip install openai av
    python bench/clients/openai_python.py [--base http://127.0.0.1:8880/v1]

Every format is asked for whole and streamed, decoded by FFmpeg (PyAV) and compared with the
samples of `pcm`: nothing may be missing at either end. Then the errors that the SDK raises.
Ends with an error if anything is not as it should be.
"""
import argparse
import base64
import io
import json

import av
import numpy as np
import openai

TEXT = "The quick brown fox jumps over the lazy dog. Then it sleeps, for a while, in the sun."
# How late the sound of a pure stream may come, in samples, which no decoder can know.
DELAY = {"mp3": 3000, "aac": 3000, "opus": 16, "flac": 0, "wav": 0}


def decode(data):
    with av.open(io.BytesIO(data)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24000)
        parts = [part.to_ndarray()[0] for frame in file.decode(audio=0)
                 for part in resampler.resample(frame)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts)


def lag(sound, reference):
    """By how many samples `sound` is late, and how alike they are then."""
    n = 1 << (len(sound) + len(reference)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(sound, n) * np.conj(np.fft.rfft(reference, n)), n)
    late = int(np.argmax(cross))
    likeness = cross[late] / np.sqrt((sound @ sound) * (reference @ reference))
    return (late if late < n // 2 else late - n), float(likeness)


def refused(wanted, call):
    try:
        call()
    except wanted as error:
        assert error.request_id, "an error without x-request-id"
        print(f"ok   {wanted.__name__}: param {error.param}, code {error.code}")
        return
    raise AssertionError(f"no {wanted.__name__}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="http://127.0.0.1:8880/v1")
    parser.add_argument("--key", default="none")
    args = parser.parse_args()
    client = openai.OpenAI(base_url=args.base, api_key=args.key)
    speak = lambda **more: client.audio.speech.create(
        **{"model": "tts-1", "voice": "alloy", "input": TEXT, **more})
    pcm = speak(response_format="pcm").content
    reference = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    for form in ["mp3", "opus", "aac", "flac", "wav"]:
        whole = speak(response_format=form).content
        streaming = client.audio.speech.with_streaming_response.create
        with streaming(model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format=form,
                       instructions="Cheerfully.") as answer:
            streamed = b"".join(answer.iter_bytes())
        assert whole == streamed, form
        sound = decode(streamed)
        late, likeness = lag(sound, reference)
        missing = len(reference) - (len(sound) - late)
        print(f"ok   {form}: {len(sound)} samples of {len(reference)}, {late} late, "
              f"likeness {likeness:.4f}, {len(streamed) * 8 / len(reference) * 24:.0f} kbit/s")
        assert 0 <= late <= DELAY[form] and missing <= 0 and likeness > 0.9, form
        assert np.abs(sound).max() < 1.0, f"{form} clips"
    with client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", voice="alloy", input=TEXT, response_format="pcm",
            stream_format="sse") as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert sound == pcm and events[-1]["type"] == "speech.audio.done", events[-1]
    print(f"ok   sse: {len(events)} events, usage {events[-1]['usage']}")
    assert "tts-1" in [model.id for model in client.models.list()]
    assert client.models.retrieve("kokoro").id == "kokoro"
    print("ok   models")
    refused(openai.BadRequestError, lambda: speak(voice="nobody"))
    refused(openai.BadRequestError, lambda: speak(speed=9))
    refused(openai.NotFoundError, lambda: speak(model="whisper-1"))
    for voice in ["alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage",
                  "shimmer", "verse", "marin", "cedar"]:
        assert len(speak(voice=voice, input="Hi.").content) > 1000, voice
    print("ok   all thirteen voices")


if __name__ == "__main__":
    main()
