// OpenAI's own Node SDK against a running server.
//
//     npm ci --prefix bench/clients
//     node bench/clients/openai_node.mjs [--base http://127.0.0.1:8880/v1] [--out FOLDER]
//
// Every format is asked for whole and streamed; both must be the same bytes and begin as their
// container does. `--out` keeps them, for `common.py FOLDER` to decode with FFmpeg. Then events by
// the SDK's own parser, its classes of errors, and AbortController.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import OpenAI from 'openai';
import { Stream } from 'openai/core/streaming';

const { values: args } = parseArgs({
    options: {
        base: { type: 'string', default: 'http://127.0.0.1:8880/v1' },
        key: { type: 'string', default: 'none' },
        out: { type: 'string' },
    },
});
// The same words as common.py's.
const TEXT =
    'The quick brown fox jumps over the lazy dog. Then it sleeps, for a while, in the sun.';
const client = new OpenAI({ baseURL: args.base, apiKey: args.key });
const speak = (more = {}, options = {}) =>
    client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: TEXT, ...more }, options);

let failed = 0;
async function check(name, run) {
    try {
        const told = await run();
        console.log(`ok   openai-node: ${name}${told ? `: ${told}` : ''}`);
    } catch (error) {
        failed += 1;
        console.error(error);
        console.log(`FAIL openai-node: ${name}: ${error.message}`);
    }
}
function assert(holds, message) {
    if (!holds) throw new Error(message);
}

// What the first bytes are, and the media type.
const isFrame = (bytes) => bytes[0] === 0xff && (bytes[1] & 0xe0) === 0xe0;
const startsWith = (magic) => (bytes) => bytes.subarray(0, magic.length).toString('latin1') === magic;
const FORMATS = {
    pcm: [() => true, 'audio/pcm; rate=24000; channels=1'],
    mp3: [isFrame, 'audio/mpeg'],
    opus: [startsWith('OggS'), 'audio/ogg'],
    aac: [isFrame, 'audio/aac'],
    flac: [startsWith('fLaC'), 'audio/flac'],
    wav: [startsWith('RIFF'), 'audio/wav'],
};

let pcm;
for (const [form, [isRight, media]] of Object.entries(FORMATS)) {
    await check(`${form} whole and streamed`, async () => {
        const answer = await speak({ response_format: form });
        assert(answer.headers.get('content-type') === media, answer.headers.get('content-type'));
        const whole = Buffer.from(await answer.arrayBuffer());
        const parts = [];
        for await (const part of (await speak({ response_format: form })).body) parts.push(part);
        assert(whole.equals(Buffer.concat(parts)), 'what is streamed differs');
        assert(isRight(whole), `begins with ${whole.subarray(0, 4).toString('hex')}`);
        if (form === 'pcm') pcm = whole;
        if (form === 'wav') assert(whole.subarray(44).equals(pcm), 'wav and pcm differ');
        if (args.out) fs.writeFileSync(path.join(args.out, `speech.${form}`), whole);
        return `${whole.length} bytes in ${parts.length} parts`;
    });
}

await check('events by the parser of the SDK', async () => {
    const controller = new AbortController();
    const answer = await speak({
        model: 'gpt-4o-mini-tts',
        response_format: 'pcm',
        stream_format: 'sse',
        instructions: 'Calmly.',
    });
    assert(answer.headers.get('content-type').startsWith('text/event-stream'), 'no event stream');
    const events = [];
    for await (const event of Stream.fromSSEResponse(answer, controller)) events.push(event);
    const last = events.pop();
    assert(last.type === 'speech.audio.done', last.type);
    const { input_tokens, output_tokens, total_tokens } = last.usage;
    assert(input_tokens > 0 && output_tokens > 0, 'no usage');
    assert(input_tokens + output_tokens === total_tokens, 'usage does not add up');
    assert(events.every((event) => event.type === 'speech.audio.delta'), 'another event');
    const sound = Buffer.concat(events.map((event) => Buffer.from(event.audio, 'base64')));
    assert(sound.equals(pcm), 'events carry another sound');
    return `${events.length} deltas, ${total_tokens} tokens`;
});

await check('asResponse() and withResponse()', async () => {
    const raw = await speak().asResponse();
    assert(raw.status === 200, `${raw.status}`);
    await raw.body.cancel();
    const { data, request_id } = await speak({ input: 'Hi.' }).withResponse();
    assert(request_id.startsWith('req_'), request_id);
    assert((await data.blob()).size > 1000, 'too little');
});

await check('models', async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert(names.includes('tts-1'), names.join());
    assert((await client.models.retrieve('kokoro')).object === 'model', 'no model');
});

for (const [name, Wanted, param, request] of [
    ['an unknown voice', OpenAI.BadRequestError, 'voice', { voice: 'nobody' }],
    ['a wrong speed', OpenAI.BadRequestError, 'speed', { speed: 9 }],
    ['a wrong format', OpenAI.BadRequestError, 'response_format', { response_format: 'mp4' }],
    ['no text', OpenAI.BadRequestError, 'input', { input: '' }],
    ['an unknown model', OpenAI.NotFoundError, 'model', { model: 'whisper-1' }],
]) {
    await check(name, async () => {
        try {
            await speak(request);
        } catch (error) {
            assert(error instanceof Wanted, `${error.constructor.name} instead of ${Wanted.name}`);
            assert(error.param === param, `param ${error.param}`);
            assert(error.type === 'invalid_request_error', error.type);
            assert(error.requestID?.startsWith('req_'), 'no request id');
            return `${Wanted.name}, code ${error.code}`;
        }
        throw new Error('was not refused');
    });
}

await check('an abort before and amid the answer', async () => {
    const LONG = 'On and on it goes. '.repeat(5000);
    const early = new AbortController();
    const asked = speak({ input: LONG, response_format: 'wav', stream: false }, { signal: early.signal });
    setTimeout(() => early.abort(), 50);
    const kind = await asked.then(() => 'an answer', (error) => error.constructor.name);
    assert(kind === 'APIUserAbortError', kind);
    const late = new AbortController();
    const answer = await speak({ input: LONG, response_format: 'pcm' }, { signal: late.signal });
    const reader = answer.body.getReader();
    await reader.read();
    late.abort();
    const ended = await (async () => {
        while (!(await reader.read()).done);
    })().then(() => 'ended', (error) => error.name);
    assert(ended === 'AbortError', ended);
    // Both must have given their places back.
    assert((await (await speak({ input: 'And now this.' })).arrayBuffer()).byteLength > 1000, 'short');
});

await check('eight at once', async () => {
    const all = Array.from({ length: 8 }, async () =>
        Buffer.from(await (await speak({ response_format: 'pcm' })).arrayBuffer()));
    for (const one of await Promise.all(all)) assert(one.equals(pcm), 'one disturbed another');
});

process.exit(failed ? 1 : 0);
