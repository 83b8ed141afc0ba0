"""Pipecat's OpenAI service in a pipeline of its own, against a running server.

    pip install -r bench/clients/pipecat.txt
    python bench/clients/pipecat_ai.py [--base http://127.0.0.1:8880/v1]

What an LLM would send goes in as frames of text; the frames of sound that come out are compared
with the samples of `pcm`, sentence by sentence: nothing may be missing at either end.
"""
import argparse
import asyncio
import json
import time
import urllib.request

import numpy as np
from loguru import logger
from pipecat.frames.frames import (EndFrame, ErrorFrame, LLMFullResponseEndFrame,
                                   LLMFullResponseStartFrame, LLMTextFrame, TTSAudioRawFrame,
                                   TTSSpeakFrame, TTSStartedFrame, TTSStoppedFrame)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService

from common import TEXT, Checks, samples

SENTENCES = ["The quick brown fox jumps over the lazy dog.",
             "Then it sleeps, for a while, in the sun."]


class Ear(FrameProcessor):
    """Remembers every frame that comes out, and when."""

    def __init__(self):
        super().__init__()
        self.heard, self.begun = [], time.monotonic()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        self.heard.append((time.monotonic() - self.begun, frame))
        await self.push_frame(frame, direction)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="http://127.0.0.1:8880/v1")
    parser.add_argument("--key", default="none")
    args = parser.parse_args()
    logger.remove()
    check = Checks("pipecat")

    def pcm(text):
        body = {"input": text, "voice": "alloy", "response_format": "pcm"}
        head = {"Content-Type": "application/json", "Authorization": f"Bearer {args.key}"}
        request = urllib.request.Request(args.base + "/audio/speech", json.dumps(body).encode(), head)
        return urllib.request.urlopen(request).read()

    def service(**settings):
        return OpenAITTSService(api_key=args.key, base_url=args.base,
                                settings=OpenAITTSService.Settings(voice="alloy", **settings))

    async def run(speaker, frames):
        ear, errors = Ear(), []
        task = PipelineTask(Pipeline([speaker, ear]), cancel_on_idle_timeout=False,
                            params=PipelineParams(audio_out_sample_rate=24000))

        @speaker.event_handler("on_error")
        async def _(_, error):
            errors.append(error)

        await task.queue_frames([*frames, EndFrame()])
        await asyncio.wait_for(PipelineRunner(handle_sigint=False).run(task), 60)
        return ear.heard, errors

    def sound_of(heard):
        sounds = [(at, frame) for at, frame in heard if isinstance(frame, TTSAudioRawFrame)]
        assert sounds, "no sound"
        assert all(frame.sample_rate == 24000 and frame.num_channels == 1 for _, frame in sounds)
        return b"".join(frame.audio for _, frame in sounds), sounds

    def trimmed(pcm):
        """Without the silence that is no one's loss: Pipecat adds some between sentences."""
        loud = np.flatnonzero(np.abs(samples(pcm)) > 1e-3)
        return samples(pcm)[loud[0]:loud[-1] + 1]

    def said_at_once():
        heard, errors = asyncio.run(run(service(), [TTSSpeakFrame(TEXT)]))
        sound, frames = sound_of(heard)
        assert not errors, errors
        wanted = pcm(TEXT)
        assert sound.startswith(wanted), f"{len(sound)} bytes differ from the {len(wanted)} wanted"
        kinds = [type(frame) for _, frame in heard]
        assert kinds.index(TTSStartedFrame) < kinds.index(TTSAudioRawFrame)
        assert TTSStoppedFrame in kinds
        return f"{len(frames)} frames, {len(sound)} bytes, the first after {frames[0][0] * 1e3:.0f} ms"

    def said_by_an_llm():
        words = [word + " " for word in TEXT.split()]
        frames = [LLMFullResponseStartFrame(), *map(LLMTextFrame, words), LLMFullResponseEndFrame()]
        heard, errors = asyncio.run(run(service(), frames))
        sound, frames = sound_of(heard)
        assert not errors, errors
        whole, at = samples(sound), 0
        for sentence in SENTENCES:
            wanted = trimmed(pcm(sentence))
            window = np.lib.stride_tricks.sliding_window_view(whole[at:], 64)
            starts = np.flatnonzero((window == wanted[:64]).all(axis=1))
            assert starts.size, f"the start of {sentence!r} is missing"
            at += int(starts[0])
            assert np.array_equal(whole[at:at + len(wanted)], wanted), f"{sentence!r} is not whole"
            at += len(wanted)
        return f"{len(frames)} frames, {len(SENTENCES)} sentences, each sample for sample"

    def set_otherwise():
        faster = asyncio.run(run(service(speed=2.0, instructions="Cheerfully."), [TTSSpeakFrame(TEXT)]))
        sound, _ = sound_of(faster[0])
        assert len(sound) < 0.7 * len(pcm(TEXT)), len(sound)

    def refused():
        heard, errors = asyncio.run(run(service(speed=9.0), [TTSSpeakFrame(TEXT)]))
        assert not any(isinstance(frame, TTSAudioRawFrame) for _, frame in heard), "sound"
        told = [*errors, *(frame for _, frame in heard if isinstance(frame, ErrorFrame))]
        assert told and "speed" in str(told[0].error), told
        return str(told[0].error)[:120]

    check("a text in one piece", said_at_once)
    check("words as an LLM sends them", said_by_an_llm)
    check("faster, with instructions", set_otherwise)
    check("a wrong speed becomes an error frame", refused)
    check.end()


if __name__ == "__main__":
    main()
