"""Answers for check.py that the server at hand may not give: Kokoro's voices, a status with all there
is and something to come, and statuses of servers that are older, newer or plainly wrong."""

_LANGUAGES = {"a": "American English", "b": "British English", "e": "Spanish", "j": "Japanese", "z": "Mandarin Chinese"}
_NAMES = (
    "af_heart af_alloy af_aoede af_bella af_jessica af_kore af_nicole af_nova af_river af_sarah af_sky am_adam am_echo "
    "am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa bf_alice bf_emma bf_isabella bf_lily bm_daniel "
    "bm_fable bm_george bm_lewis ef_dora em_alex em_santa jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo "
    "zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang"
).split()
KOKORO_VOICES = [
    {
        "id": name, "name": name, "language": _LANGUAGES[name[0]], "gender": "female" if name[1] == "f" else "male",
        "model": "kokoro-82m", **({"default": True} if name == "af_heart" else {}),
    }
    for name in _NAMES
]

FULL_STATUS = {
    "version": "9.8.7", "ready": True, "state": "ready", "uptime_seconds": 93784.2,
    "startup": {"ready_after_ms": 23.4, "first_audio_ms": 17.8},
    "model": {"id": "builtin", "voices": 2, "notice": "This is the small built-in voice; for the real one: koe pull"},
    "engine": {"isa": "avx512", "precision": "f32", "threads": 2, "lanes": 1, "residency": {"resident_bytes": 8_012_345, "total_bytes": 8_200_000}},
    "requests": {"inflight": 1, "limit": 8, "queued": 0, "total": 43, "by_status": {"200": 40, "429": 2, "400": 1}, "cancelled": 3},
    "first_audio_ms": {
        "count": 40, "p50": 61.2, "p95": 140.1,
        "buckets": [{"le": le, "count": n} for le, n in ((0.01, 0), (0.025, 2), (0.05, 11), (0.075, 27), (0.1, 34), (0.15, 38), (0.25, 39), (0.5, 39), (1, 40), (2.5, 40))],
    },
    "real_time_factor": {"p50": 0.06, "p95": 0.09},
    "memory": {"rss_bytes": 181_234_567, "limit_bytes": 4_294_967_296, "peak_bytes": 201_234_567},
    "keep_alive": {"enabled": True, "ticks": 12, "last_tick_ms": 3.2, "next_in_seconds": 240},
    "cache": {"hit_rate": 0.9312, "patterns": [{"name": "hello", "hits": 3}, {"name": "bye", "hits": 1}], "kinds": ["audio", "text"]},
    "build": "release",
}

STRANGE_STATUSES = [
    {},
    {"ready": False},
    {"ready": True, "state": "dreaming", "requests": None, "engine": [], "memory": 7, "model": "x"},
    {"first_audio_ms": {"buckets": [{"le": "+Inf", "count": 3}]}, "requests": {"by_status": [], "inflight": "many"}},
    {"real_time_factor": 0.05, "audio_seconds": 12.5, "first_audio_ms": {"p50": "soon", "count": 3, "buckets": [{"le": 0.1, "count": 2}]}},
    {"first_audio_ms": {"buckets": []}, "memory": {"rss_bytes": 5, "limit_bytes": None}, "deep": {"a": {"b": {"c": [1, {"d": None}]}}}},
]
