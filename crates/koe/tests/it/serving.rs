//! `koe serve` as its clients meet it: a real process, real sockets, the built-in voice.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, Wav};
use crate::server::{SOON, Server};

fn decode(base64: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(base64.as_str().unwrap()).unwrap()
}

const TEXT: &str = "Größe matters, said the naïve judge. It really does.\n\nA new paragraph.";

#[test]
fn every_format_has_its_type_and_streams_what_it_would_send_at_once() {
    let server = Server::start(&[]);
    for (format, media, magic) in [
        ("mp3", "audio/mpeg", &b"\xff"[..]),
        ("opus", "audio/ogg", b"OggS"),
        ("aac", "audio/aac", b"\xff"),
        ("flac", "audio/flac", b"fLaC"),
        ("wav", "audio/wav", b"RIFF"),
        ("pcm", "audio/pcm; rate=24000; channels=1", b""),
    ] {
        let body = json!({"input": TEXT, "voice": "alloy", "response_format": format});
        let answer = server.speak(body.clone()).ok();
        assert_eq!(answer.header("content-type"), media);
        assert_eq!(answer.header("x-accel-buffering"), "no");
        assert_eq!(answer.header("content-encoding"), "");
        assert!(answer.header("x-request-id").starts_with("req_"));
        assert!(answer.header("server-timing").starts_with("first-audio;dur="));
        assert!(answer.bytes.starts_with(magic), "{format}");
        assert!(answer.bytes.len() > 5_000, "{format}");
        assert_eq!(answer.header("content-length"), "", "{format} is streamed");

        let mut whole = body;
        whole["stream"] = false.into();
        let whole = server.speak(whole).ok();
        assert_eq!(whole.header("content-length"), whole.bytes.len().to_string());
        if format == "pcm" {
            assert!(whole.bytes == answer.bytes);
        }
        if format == "wav" {
            assert_eq!(Wav::parse(&answer.bytes).data_bytes, u32::MAX);
            let wav = Wav::parse(&whole.bytes);
            assert_eq!(wav.data_bytes as usize, wav.data.len());
            assert!(wav.data == answer.bytes[44..]);
        }
    }
}

#[test]
fn events_carry_the_same_sound_its_words_and_the_end() {
    let server = Server::start(&[]);
    let body = json!({"input": TEXT, "voice": {"id": "nova"}, "response_format": "pcm", "seed": 7});
    let plain = server.speak(body.clone()).ok();
    let mut body = body;
    body["stream_format"] = "sse".into();
    body["return_timestamps"] = true.into();
    let answer = server.speak(body).ok();
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let events = answer.events();

    let of_type = |kind: &'static str| events.iter().filter(move |event| event["type"] == kind);
    let sound: Vec<u8> =
        of_type("speech.audio.delta").flat_map(|event| decode(&event["audio"])).collect();
    assert!(sound == plain.bytes);

    let last = events.last().unwrap();
    assert_eq!(last["type"], "speech.audio.done");
    let usage = &last["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(count("input_tokens") + count("output_tokens"), count("total_tokens"));
    assert!(count("input_tokens") > 0 && count("output_tokens") > 0);

    let words: Vec<&Value> = of_type("speech.audio.words")
        .flat_map(|event| event["words"].as_array().unwrap())
        .collect();
    let chars: Vec<char> = TEXT.chars().collect();
    let seconds = sound.len() as f64 / 2.0 / 24_000.0;
    let mut time = 0.0;
    for word in &words {
        let at = |name: &str| word[name].as_u64().unwrap() as usize;
        let written: String = chars[at("char_start")..at("char_end")].iter().collect();
        assert_eq!(word["word"], written);
        let (start, end) =
            (word["start_time"].as_f64().unwrap(), word["end_time"].as_f64().unwrap());
        assert!(time <= start + 1e-6 && start < end && end <= seconds, "{word}");
        time = start;
    }
    let spoken: Vec<&str> = words.iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert_eq!(spoken.first(), Some(&"Größe"));
    assert_eq!(spoken.len(), 12, "{spoken:?}");
}

#[test]
fn times_come_as_files_and_beside_the_sound() {
    let server = Server::start(&[]);
    let with = |format: &str| server.speak(json!({"input": TEXT, "response_format": format})).ok();
    let vtt = with("vtt");
    assert_eq!(vtt.header("content-type"), "text/vtt; charset=utf-8");
    assert!(vtt.bytes.starts_with(b"WEBVTT\n") && vtt.bytes.len() > 60);
    assert!(with("srt").bytes.starts_with(b"1\n00:00:00,"));
    let times = with("json").json();
    assert_eq!(times["words"].as_array().unwrap().len(), 12);

    let body = json!({"input": TEXT, "voice": "am_rms", "response_format": "pcm", "stream": false});
    let captioned = server.post("/dev/captioned_speech", &body).ok().json();
    assert_eq!(captioned["audio_format"], "audio/pcm");
    assert!(decode(&captioned["audio"]) == server.speak(body.clone()).ok().bytes);
    assert_eq!(captioned["timestamps"].as_array().unwrap().len(), 12);
    let mut body = body;
    body["stream"] = true.into();
    let lines = server.post("/dev/captioned_speech", &body).ok();
    let text = String::from_utf8(lines.bytes).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sound: Vec<u8> = lines.iter().flat_map(|line| decode(&line["audio"])).collect();
    assert!(sound == decode(&captioned["audio"]));
}

#[test]
fn a_mistake_is_a_400_that_names_its_field() {
    let server = Server::start(&["--max-chars", "100"]);
    for (body, status, param) in [
        (json!({}), 400, "input"),
        (json!({"input": ""}), 400, "input"),
        (json!({"input": " \n"}), 400, "input"),
        (json!({"input": 5}), 400, "input"),
        (json!({"input": "x".repeat(101)}), 400, "input"),
        (json!({"input": "🙂🙂"}), 400, "input"),
        (json!({"input": "a", "voice": "af_heart"}), 400, "voice"),
        (json!({"input": "a", "voice": "nobody"}), 400, "voice"),
        (json!({"input": "a", "voice": "../../etc/passwd"}), 400, "voice"),
        (json!({"input": "a", "voice": {"name": "x"}}), 400, "voice.id"),
        (json!({"input": "a", "voice": 3}), 400, "voice"),
        (json!({"input": "a", "speed": 0.1}), 400, "speed"),
        (json!({"input": "a", "speed": "fast"}), 400, "speed"),
        (json!({"input": "a", "response_format": "mp4"}), 400, "response_format"),
        (json!({"input": "a", "stream_format": "xml"}), 400, "stream_format"),
        (json!({"input": "a", "sample_rate": 7}), 400, "sample_rate"),
        (json!({"input": "a", "seed": -1}), 400, "seed"),
        (json!({"input": "a", "volume_multiplier": -1}), 400, "volume_multiplier"),
        (json!({"input": "a", "leading_silence": 1e9}), 400, "leading_silence"),
        (json!({"input": "a", "lang_code": "z"}), 400, "lang_code"),
        (json!({"input": "a", "ssml": true}), 400, "ssml"),
        (json!({"input": "a", "model": "whisper-1"}), 404, "model"),
    ] {
        let answer = server.speak(body.clone());
        let error = &answer.json()["error"];
        assert_eq!(answer.status, status, "{body} gave {error}");
        let found = error["param"].as_str().unwrap_or_default();
        assert!(
            found == param || param == "voice.id" && found.starts_with("voice"),
            "{body}: {error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 8));
    }
    let nobody = server.speak(json!({"input": "a", "voice": "am_rmz"})).json();
    let message = nobody["error"]["message"].as_str().unwrap();
    assert!(message.contains("did you mean am_rms? GET /v1/audio/voices lists them"), "{message}");

    // What is unknown is ignored, and null is as good as absent.
    let body = json!({"input": "a", "voice": null, "unknown": [1], "speed": null, "instructions": "x",
        "normalization_options": {"normalize": true}});
    server.speak(body).ok();

    let agent = Server::agent();
    let raw = |content_type: &str, body: &str| {
        let request =
            agent.post(server.url("/v1/audio/speech")).header("content-type", content_type);
        let mut answer = request.send(body).unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        let error: Value = serde_json::from_str(&body).unwrap();
        (answer.status().as_u16(), error["error"]["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(raw("text/plain", "{}"), (415, "unsupported_media_type".to_owned()));
    assert_eq!(raw("application/json", "{"), (400, "invalid_json".to_owned()));
    assert_eq!(raw("application/json", &"[".repeat(10_000)).0, 400);
    assert_eq!(
        raw("application/json", &" ".repeat(1 << 20)),
        (413, "request_too_large".to_owned())
    );
    assert_eq!(server.get("/nowhere").0, 404);
    assert_eq!(server.get("/v1/audio/speech").0, 405);
}

#[test]
fn what_is_not_heeded_is_said() {
    let server = Server::start(&[]);
    let body = json!({"input": "Hi.", "instructions": "Whisper.", "response_format": "pcm",
        "normalization_options": {"normalize": false, "url_normalization": true, "other": 1}});
    let told = "instructions, normalization_options.normalize";
    let answer = server.speak(body.clone()).ok();
    assert_eq!(answer.header("x-koe-ignored"), told);
    assert_eq!(server.post("/dev/captioned_speech", &body).ok().header("x-koe-ignored"), told);
    let turns = json!({"turns": [{"text": "Hi."}], "instructions": "Whisper."});
    assert_eq!(server.post("/dev/dialogue", &turns).ok().header("x-koe-ignored"), "instructions");
    let plain = json!({"input": "Hi.", "instructions": " ", "response_format": "pcm",
        "normalization_options": {"normalize": true, "unit_normalization": null}});
    let plain = server.speak(plain).ok();
    assert_eq!(plain.header("x-koe-ignored"), "");
    assert!(plain.bytes == answer.bytes, "what is not heeded changes nothing");
}

#[test]
fn lists_have_the_shapes_that_clients_look_for() {
    let server = Server::start(&[]);
    let models = server.json("/v1/models");
    assert_eq!(models["object"], "list");
    assert!(models["data"].as_array().unwrap().iter().any(|model| model["id"] == "tts-1"));
    assert_eq!(server.json("/v1/models/kokoro")["object"], "model");
    assert_eq!(server.get("/v1/models/none").0, 404);
    assert!(server.json("/audio/models")["models"][0]["id"].is_string());
    for path in ["/v1/audio/voices", "/audio/voices", "/voices"] {
        let voices = server.json(path);
        let first = &voices["voices"][0];
        assert!(first["id"].is_string() && first["name"].is_string(), "{path}");
        assert_eq!(server.json(&format!("{path}?legacy=true"))["voices"][0], first["id"]);
    }
    let mix = json!({"name": "duo", "voice": "am_rms(2)+af_slt(1)"});
    assert_eq!(server.post("/v1/audio/voices/combine", &mix).ok().json()["id"], "duo");
    // Whatever the list shows can be asked for.
    for voice in server.json("/v1/audio/voices")["voices"].as_array().unwrap() {
        let body = json!({"input": "Hi.", "voice": voice["id"], "model": voice["model"]});
        server.speak(body).ok();
    }
    for wrong in [json!("am_rms+nobody"), json!(""), json!([])] {
        assert_eq!(server.post("/v1/audio/voices/combine", &wrong).status, 400, "{wrong}");
    }
    let mixed = |mix: &str| {
        server.speak(json!({"input": "Hi.", "voice": mix, "response_format": "pcm"})).ok()
    };
    let even = mixed("am_rms+af_slt").bytes;
    for weight in ["3e38", "1e-45"] {
        assert!(mixed(&format!("am_rms({weight})+af_slt({weight})")).bytes == even, "{weight}");
    }

    let phonemes = server.post("/dev/phonemize", &json!({"text": "Hello, world."})).ok().json();
    assert_eq!(phonemes["words"].as_array().unwrap().len(), 2);
    let body = json!({"phonemes": phonemes["phonemes"], "voice": "am_rms"});
    let wav = server.post("/dev/generate_from_phonemes", &body).ok();
    assert!(Wav::parse(&wav.bytes).seconds() > 0.5);
    let turns = json!({"turns": [{"voice": "am_rms", "text": "Who is there?"},
        {"voice_id": "af_slt", "text": "It is I."}], "pause_between_turns": 0.5,
        "response_format": "wav"});
    assert!(Wav::parse(&server.post("/dev/dialogue", &turns).ok().bytes).seconds() > 1.5);
}

#[test]
fn only_the_first_turn_of_a_dialogue_begins_with_a_short_chunk() {
    let server = Server::start(&[]);
    let n_chunks = || -> u64 {
        let (_, metrics) = server.get("/metrics");
        let count = metrics.lines().find_map(|l| l.strip_prefix("koe_queue_wait_seconds_count "));
        count.unwrap().parse().unwrap()
    };
    let text = "We walked along the river until the lamps were lit, and spoke of all the years \
        that had gone by since we had last met there.";
    server.speak(json!({"input": text, "voice": "am_rms"})).ok();
    let alone = n_chunks();
    assert!(alone > 1, "the text is too short for this test");
    let turn = json!({"voice": "am_rms", "text": text});
    server.post("/dev/dialogue", &json!({"turns": [turn, turn]})).ok();
    assert_eq!(n_chunks() - alone, alone + 1, "the second turn is one chunk");
}

#[test]
fn a_full_server_refuses_at_once_and_a_client_that_leaves_makes_room() {
    let server = Server::start(&["--max-requests", "1"]);
    let endless = json!({"input": "On and on it goes. ".repeat(2000), "response_format": "wav"});
    let stream = server.hang_on(&endless);
    let refused = server.speak(json!({"input": "Me too."}));
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["error"]["code"], "queue_full");
    assert_eq!(server.get("/health/live").0, 200);
    drop(stream);
    server.eventually("free again", || server.inflight() == 0);
    server.speak(json!({"input": "At last."})).ok();
    assert!(server.json("/status")["requests"]["cancelled"].as_u64().unwrap() >= 1);
}

#[test]
fn two_streams_take_turns() {
    let server = Server::start(&[]);
    let long = json!({"input": "On and on it goes. ".repeat(1500), "response_format": "pcm"});
    let _first = server.hang_on(&long);
    // Would wait for the whole of the first if it were first come, first served.
    server.speak(json!({"input": "A word in between."})).ok();
    // It leaves a moment after its last byte; had the first ended, none would be left.
    server.eventually("only the first left", || server.inflight() == 1);
}

#[test]
fn a_reader_that_stops_is_cut_off() {
    let server = Server::start(&["--stall-timeout", "1"]);
    let long = json!({"input": "On and on it goes. ".repeat(4000), "response_format": "wav"});
    let _stuck = server.hang_on(&long);
    server.eventually("cut off", || server.inflight() == 0);
}

#[test]
fn who_only_connects_is_soon_cut_off() {
    let server = Server::start(&[]);
    // Nothing; what might become HTTP/2 or not; what stays behind after its answer.
    let openings = ["", "PRI * HT", "GET /health/live HTTP/1.1\r\nhost: koe\r\n\r\n"];
    let streams = openings.map(|opening| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(opening.as_bytes()).unwrap();
        stream
    });
    for (mut stream, opening) in streams.into_iter().zip(openings) {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap_or_else(|error| panic!("{opening:?}: {error}"));
        assert_eq!(heard.starts_with(b"HTTP/1.1 200"), opening.starts_with("GET"), "{opening:?}");
    }
}

#[test]
fn only_who_has_a_key_may_speak() {
    let home = Sandbox::new();
    let keys = home.write("keys.txt", "# ours\nsesame\n");
    let mut server = Server::start_in(home, &["--api-key-file", keys.to_str().unwrap()]);
    let refused = server.speak(json!({"input": "Open."}));
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    assert_eq!(refused.json()["error"]["type"], "authentication_error");
    for path in ["/health", "/", "/audio/voices", "/v1/audio/voices", "/v1/"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
    for path in ["/status", "/metrics", "/v1/models"] {
        assert_eq!(server.get(path).0, 401, "{path}");
    }
    server.key = Some("sesam");
    assert_eq!(server.speak(json!({"input": "Open."})).status, 401);
    server.key = Some("sesame");
    server.speak(json!({"input": "Open."})).ok();
    assert_eq!(server.get("/status").0, 200);
}

#[test]
fn too_many_requests_a_minute_are_refused() {
    let server = Server::start(&["--rate-limit", "2"]);
    let body = json!({"input": "Again."});
    server.speak(body.clone()).ok();
    server.speak(body.clone()).ok();
    let third = server.speak(body);
    assert_eq!((third.status, third.header("retry-after")), (429, "1"));
    assert_eq!(third.json()["error"]["code"], "rate_limit_exceeded");
}

#[test]
fn a_public_address_needs_keys_or_a_word() {
    let home = Sandbox::new();
    home.run(&["serve", "--host", "0.0.0.0", "--port", "0"]).fails(2, "--api-key-file");
    home.run(&["serve", "--cors-origin", "example.org"]).fails(2, "https://example.org");
    home.run(&["serve", "--voice", "af_hart"]).fails(2, "did you mean af_heart");
}

#[test]
fn the_signal_to_stop_lets_what_runs_finish() {
    let mut server = Server::start(&["--drain-timeout", "3600"]);
    let text = "On and on it goes. ".repeat(150);
    let mut stream = server.hang_on(&json!({"input": text, "response_format": "pcm"}));
    let terminated = std::process::Command::new("/bin/kill")
        .args(["-TERM", &server.child.id().to_string()])
        .status();
    assert!(terminated.unwrap().success());
    server.eventually("not ready", || server.get("/health/ready").0 == 503);
    assert_eq!(server.speak(json!({"input": "Too late."})).status, 503);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the last chunk came");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_socket_speaks_sentence_by_sentence_and_can_be_interrupted() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/v1/audio/speech/stream", server.address);
    let (mut socket, _) = tungstenite::connect(url).unwrap();
    let mut send = |message: Value| socket.send(tungstenite::Message::text(message.to_string()));
    send(json!({"type": "session.update", "session": {"voice": "am_rms", "return_timestamps": true}}))
        .unwrap();
    for text in ["Hello th", "ere. And", " now"] {
        send(json!({"type": "input_text.append", "text": text})).unwrap();
    }
    let mut next = || -> Value {
        loop {
            match socket.read().unwrap() {
                tungstenite::Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                tungstenite::Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(next()["type"], "session.created");
    assert_eq!(next()["type"], "session.updated");
    // The first sentence sounds before the second is whole.
    let words = next();
    assert_eq!(words["words"][1]["word"], "there");
    let sound = next();
    assert_eq!(sound["type"], "speech.audio.delta");
    assert!(decode(&sound["audio"]).len() > 1000);

    let mut send = |message: Value| socket.send(tungstenite::Message::text(message.to_string()));
    send(json!({"type": "input_text.end"})).unwrap();
    let mut heard = Vec::new();
    let mut next = || -> Value {
        match socket.read().unwrap() {
            tungstenite::Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    loop {
        let event = next();
        match event["type"].as_str().unwrap() {
            "speech.audio.words" => {
                for word in event["words"].as_array().unwrap() {
                    heard.push((
                        word["word"].as_str().unwrap().to_owned(),
                        word["char_start"].clone(),
                    ));
                }
            }
            "speech.audio.delta" => {}
            "speech.audio.done" => break,
            _ => panic!("{event}"),
        }
    }
    assert_eq!(heard, [("And".to_owned(), json!(13)), ("now".to_owned(), json!(17))]);

    // Another utterance on the same connection, cut off while it is spoken.
    let text = "On and on it goes. ".repeat(500);
    for message in
        [json!({"type": "input_text.append", "text": text}), json!({"type": "input_text.flush"})]
    {
        socket.send(tungstenite::Message::text(message.to_string())).unwrap();
    }
    let mut kind = String::new();
    while kind != "speech.audio.delta" {
        let text = socket.read().unwrap().into_text().unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        kind = event["type"].as_str().unwrap().to_owned();
    }
    let cancel = json!({"type": "input_text.cancel"}).to_string();
    socket.send(tungstenite::Message::text(cancel)).unwrap();
    while kind != "speech.audio.cancelled" {
        let text = socket.read().unwrap().into_text().unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        kind = event["type"].as_str().unwrap().to_owned();
    }
    server.eventually("idle", || server.inflight() == 0);

    socket.send(tungstenite::Message::text("{\"type\": \"input_text.append\"}")).unwrap();
    let text = socket.read().unwrap().into_text().unwrap();
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["type"], "error");
}

#[test]
fn the_page_comes_with_a_policy_and_loads_only_its_own() {
    let server = Server::start(&[]);
    let answer = Server::agent().get(server.url("/")).call().unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"));
    assert!(server.get("/").1.contains("page/page.css"));
    assert_eq!(server.get("/docs").0, 200);
    assert_eq!(server.get("/page/no.js").0, 404);
    assert_eq!(server.get("/page/..%2fmod.rs").0, 404);
}

#[test]
fn measurements_are_exposed() {
    let server = Server::start(&[]);
    server.speak(json!({"input": "Count me."})).ok();
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("koe_requests_total{route=\"/v1/audio/speech\",status=\"200\"} 1"));
    assert!(metrics.contains("koe_time_to_first_audio_seconds_count 1"), "warm-ups do not count");
    let status = server.json("/status");
    assert_eq!(status["ready"], true);
    assert!(status["startup"]["ready_after_ms"].as_f64().unwrap() > 0.0);
    assert!(status["memory"]["rss_bytes"].as_u64().unwrap() > 1 << 20);
    assert_eq!(server.json("/health")["model_ready"], true);
}

#[test]
fn the_description_that_is_checked_in_is_the_servers() {
    let home = Sandbox::new();
    let made = home.run(&["serve", "--openapi"]).ok().stdout();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(made == kept, "run: cargo run -p koe -- serve --openapi > docs/openapi.json");
}
