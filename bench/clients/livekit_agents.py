"""LiveKit Agents' OpenAI plugin, as a voice agent uses it, against a running server.

    pip install -r bench/clients/livekit.txt
    python bench/clients/livekit_agents.py [--base http://127.0.0.1:8880/v1]

The plugin asks for server-sent events with MP3 inside unless told otherwise, decodes by itself and
hands out frames. What it hears in each way is compared with the samples of `pcm`.
"""
import argparse
import asyncio
import json
import time
import urllib.request

import numpy as np
from livekit.agents import APIConnectOptions, APIStatusError
from livekit.plugins import openai

from common import TEXT, Checks, lag, samples

# Samples that LiveKit's own decoder loses at the start, of FFmpeg's files just the same (1.8.9).
LOST = {"flac": 2304, "opus": 480}
# The framework's own retries would hide a refusal.
ONCE = APIConnectOptions(max_retry=0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="http://127.0.0.1:8880/v1")
    parser.add_argument("--key", default="none")
    args = parser.parse_args()
    check = Checks("livekit")

    def tts(**more):
        return openai.TTS(**{"base_url": args.base, "api_key": args.key, "voice": "alloy", **more})

    def pcm(**more):
        body = {"input": TEXT, "voice": "alloy", "response_format": "pcm", **more}
        head = {"Content-Type": "application/json", "Authorization": f"Bearer {args.key}"}
        request = urllib.request.Request(args.base + "/audio/speech", json.dumps(body).encode(), head)
        return samples(urllib.request.urlopen(request).read())

    async def hear(speaker, text=TEXT):
        begun, first, frames = time.monotonic(), None, []
        async with speaker.synthesize(text, conn_options=ONCE) as stream:
            async for heard in stream:
                first = first or time.monotonic() - begun
                frames.append(heard)
        assert frames and frames[-1].is_final, "no last frame"
        assert all(one.frame.sample_rate == 24000 and one.frame.num_channels == 1 for one in frames)
        assert len({one.request_id for one in frames}) == 1 and frames[0].request_id
        sound = np.concatenate([np.frombuffer(one.frame.data, "<i2") for one in frames])
        return sound.astype(np.float32) / 32768, len(frames), first

    async def a_way(reference, **more):
        speaker = tts(**more)
        sound, n_frames, first = await hear(speaker)
        await speaker.aclose()
        late, likeness = lag(sound, reference)
        told = (f"{n_frames} frames, {len(sound)} samples of {len(reference)}, {late} late, "
                f"likeness {likeness:.4f}, first frame after {first * 1e3:.0f} ms")
        lost = LOST.get(more.get("response_format"), 0)
        assert -lost <= late <= 3000 and likeness > 0.9, told
        # The end must be there: all that is after what was late or lost.
        assert len(sound) - late >= len(reference), told
        return told

    async def prewarm():
        speaker = tts()
        speaker.prewarm()
        await speaker._prewarm_task
        await speaker.aclose()

    async def refused(status, **more):
        speaker = tts(**more)
        try:
            await hear(speaker)
        except APIStatusError as error:
            assert error.status_code == status, error
            assert not error.retryable, "would be sent again"
            assert error.request_id, "no request id"
            return f"{error.status_code}: {error.message}"[:150]
        finally:
            await speaker.aclose()
        raise AssertionError("was not refused")

    async def interrupted():
        speaker = tts()
        async with speaker.synthesize("On and on it goes. " * 500, conn_options=ONCE) as stream:
            await anext(stream)
        sound, _, first = await hear(speaker, "And now this.")
        await speaker.aclose()
        assert len(sound) > 12000
        return f"the next sound after {first * 1e3:.0f} ms"

    async def session():
        speaker = tts()
        sounds = await asyncio.gather(*[hear(speaker) for _ in range(4)])
        assert all(np.array_equal(sound, sounds[0][0]) for sound, *_ in sounds)
        await speaker.aclose()

    run = lambda making: asyncio.run(making)
    reference = pcm()
    check("prewarm", lambda: run(prewarm()))
    check("events with mp3, its default", lambda: run(a_way(reference)))
    for form in ["wav", "flac", "opus", "aac", "pcm"]:
        check(f"events with {form}", lambda: run(a_way(reference, response_format=form)))
    check("plain mp3, as for tts-1", lambda: run(a_way(reference, model="tts-1")))
    check("plain pcm, as for tts-1",
          lambda: run(a_way(reference, model="tts-1", response_format="pcm")))
    check("another voice, faster", lambda: run(
        a_way(pcm(voice="nova", speed=1.5), voice="nova", speed=1.5)))
    check("an unknown voice", lambda: run(refused(400, voice="nobody")))
    check("an unknown model", lambda: run(refused(404, model="whisper-1")))
    check("an interruption", lambda: run(interrupted()))
    check("four at once", lambda: run(session()))
    check.end()


if __name__ == "__main__":
    main()
