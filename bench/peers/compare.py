#!/usr/bin/env python3
"""Time koe against other runtimes on this machine: same model, same tokens, same style, same threads.

Each column is a long-lived process that answers one line protocol (see protocol.py). After a warm-up of
each length they take turns, A B C C B A ..., and those that wait are stopped, so neither a neighbour's burst
of work nor a peer's spinning threads favours one of them. Answers are checked before they are timed: as many
samples as frames, the level of ONNX Runtime's sound, durations that differ are counted. Cold start is the
time from starting a process to its first result at the shortest length, with the files in the page cache.

The columns (--columns takes some, in this order; onnxruntime is what factors are of):

  koe             in the best precision and instructions of this CPU
  koe-f32         in f32
  koe-avx2        in f32, held to AVX2
  koe-f32-1t, koe-bf16-1t   on one thread
  onnxruntime     fp32
  openvino        fp32
  openvino-bf16   with the hint bf16
  pytorch         eager, fp32

The model is made by ../make_model.py --onnx. Prints tables; writes them with everything needed to repeat
the run to ../records/<date>-<cpu>/.
"""
import argparse
import datetime
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
FRAME_SAMPLES = 600
SAMPLE_RATE_HZ = 24_000
# Two implementations of one random model agree in level far better than this; a broken one does not.
# The exports' inverse STFT is up to 6 dB off in single bands (see ../README.md), hence so wide.
LEVEL_RATIO = 2.0
# What factors are of, and whose sound and durations the others are held to.
BASE = "onnxruntime"
# Too slow for as many rounds as the rest.
SLOW = {"pytorch"}


def own_scheduler_group():
    """In the child: its own session at the highest priority that we may have, or the default."""
    os.setsid()
    try:
        Path("/proc/self/autogroup").write_text("-20")
        os.nice(-20)
    except OSError:
        pass


class Worker:
    """A process that speaks the line protocol."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=own_scheduler_group)

    def answer(self, word):
        line = self.process.stdout.readline().split(maxsplit=1)
        if not line or line[0] != word:
            raise SystemExit(f"{self.name} said {line} where {word!r} was due: {' '.join(self.command)}")
        return line[1].strip()

    def ready(self):
        self.description = self.answer("ready")
        return self

    def speak(self, case):
        """(milliseconds, samples, rms, frames, CPU seconds a wall second)"""
        before = self.cpu_ns()
        started = time.perf_counter_ns()
        self.process.stdin.write(f"speak {case}\n")
        self.process.stdin.flush()
        milliseconds, samples, rms, frames = self.answer("spoke").split()
        busy = (self.cpu_ns() - before) / max(1, time.perf_counter_ns() - started)
        return float(milliseconds), int(samples), float(rms), [int(x) for x in frames.split(",")], busy

    def cpu_ns(self):
        """CPU time of all threads; the kernel counts it in nanoseconds here and in ticks elsewhere."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                continue  # the thread has just ended
        return total

    def pause(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def memory_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return {key: int(re.search(rf"{key}:\s+(\d+)", status)[1]) * 1024 / 1e6
                for key in ("VmHWM", "VmRSS", "RssAnon", "RssFile")}

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def write_case(folder, n, voice, speed):
    """Random tokens of a fixed seed, and the style row that a text of that length takes."""
    tokens = np.random.default_rng(1000 + n).integers(1, 178, n)
    pack = np.fromfile(voice, dtype="<f4").reshape(-1, 256)
    path = Path(folder) / f"{n}.case"
    path.write_text("\n".join((" ".join(map(str, tokens)), " ".join(f"{x:.9g}" for x in pack[n - 1]),
                               str(speed))) + "\n", encoding="ascii")
    return path


def check(n, answers):
    """All spoke, and nearly the same thing; returns how many durations of each differ from the base's."""
    base = answers.get(BASE) or next(iter(answers.values()))
    different = {}
    for name, (_, samples, rms, frames, _) in answers.items():
        if samples != sum(frames) * FRAME_SAMPLES or len(frames) != n + 2 or not rms > 0:
            raise SystemExit(f"{name} at {n} tokens: {samples} samples, {sum(frames)} frames, rms {rms}")
        if not 1 / LEVEL_RATIO < rms / base[2] < LEVEL_RATIO:
            raise SystemExit(f"levels at {n} tokens differ: {name} has rms {rms}, not {base[2]}")
        different[name] = sum(a != b for a, b in zip(frames, base[3]))
    return different


def steady(workers, cases, rounds, slow_rounds):
    """Rows of the steady state, by length."""
    rows = []
    for n, case in cases.items():
        answers = {}
        for worker in workers:
            worker.resume()
            answers[worker.name] = worker.speak(case)
            worker.pause()
        different = check(n, answers)
        times = {worker.name: [] for worker in workers}
        for turn in range(rounds):
            for worker in workers if turn % 2 == 0 else workers[::-1]:
                if worker.name in SLOW and turn >= slow_rounds:
                    continue
                worker.resume()
                answer = worker.speak(case)
                worker.pause()
                times[worker.name].append({"ms": answer[0], "cpu": answer[4]})
        row = {"tokens": n, "times": times, "columns": {}}
        for worker in workers:
            milliseconds = [x["ms"] for x in times[worker.name]]
            median = statistics.median(milliseconds)
            audio = answers[worker.name][1] / SAMPLE_RATE_HZ
            row["columns"][worker.name] = {
                "audio_s": audio, "median_ms": median, "best_ms": min(milliseconds), "rtf": median / 1e3 / audio,
                "cpu": statistics.median(x["cpu"] for x in times[worker.name]),
                "durations_that_differ": different[worker.name]}
        base = row["columns"].get(BASE)
        for column in row["columns"].values():
            # By the second of sound, because durations may differ.
            column["times_as_fast_as_base"] = base["rtf"] / column["rtf"] if base else None
        rows.append(row)
        for name, column in row["columns"].items():
            factor = column["times_as_fast_as_base"]
            print(f"{n:4d} tokens | {name:14s} | {column['audio_s']:6.2f} s of sound | {column['median_ms']:8.1f} ms "
                  f"(best {column['best_ms']:8.1f}) | RTF {column['rtf']:.4f} | cpu {column['cpu']:.2f} | "
                  + (f"{factor:.2f}x" if factor else "") + f" | {different[name]} durations differ", flush=True)
    return rows


def one_process(name, command, cases):
    """From start to the first result, and the memory of a process that speaks `cases` and nothing else."""
    worker = Worker(name, command).ready()
    ready = time.perf_counter() - worker.started
    loaded = worker.memory_mb()
    worker.speak(cases[0])
    first = time.perf_counter() - worker.started
    for case in cases[1:]:
        worker.speak(case)
    memory = worker.memory_mb()
    worker.close()
    return {"ready_ms": ready * 1e3, "first_ms": first * 1e3, "loaded": loaded, "memory": memory}


def cold(commands, case, rounds):
    runs = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in list(commands.items())[:: 1 if turn % 2 == 0 else -1]:
            result = one_process(name, command, [case])
            if turn > 0:  # the first fills the page cache, and makes koe's pack
                runs[name].append(result)
    result = {name: {key: statistics.median(run[key] for run in each) for key in ("ready_ms", "first_ms")}
              for name, each in runs.items()}
    for name, row in result.items():
        print(f"cold start, {name}: ready after {row['ready_ms']:.1f} ms, first result after {row['first_ms']:.1f} ms")
    return {"medians": result, "runs": runs}


def memory(commands, cases):
    """Peak of a fresh process per length: a long run would hide the short ones' need."""
    result = {}
    for name, command in commands.items():
        result[name] = {}
        for n, case in cases.items():
            run = one_process(name, command, [case, case])
            result[name][n] = {"loaded": run["loaded"], "after": run["memory"]}
        print(f"memory, {name}: {run['loaded']['VmRSS']:.0f} MB loaded; peak " + ", ".join(
            f"{row['after']['VmHWM']:.0f} MB at {n}" for n, row in result[name].items())
            + f" tokens; of the last {run['memory']['RssFile']:.0f} MB are mapped files", flush=True)
    return result


def machine():
    cpuinfo = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", cpuinfo)
    flags = set((re.search(r"flags\s*: (.*)", cpuinfo) or [None, ""])[1].split())
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {"cpu": name[1] if name else platform.machine(), "n_cpus": os.cpu_count(),
            "isa": sorted(flags & {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8"}),
            "governor": governor.read_text().strip() if governor.exists() else "not visible",
            "kernel": platform.release(), "load": os.getloadavg(), "python": platform.python_version()}


def columns(args, cache):
    """The command of every column."""
    def koe(isa, precision, threads=args.threads):
        return [str(args.koe), str(args.model), str(cache), str(threads), isa, precision]

    def python(script, *arguments):
        return [sys.executable, str(HERE / script), *map(str, arguments)]

    plain = args.model / "kokoro-rand-plain.onnx"
    return {
        "koe": koe("auto", "auto"),
        "koe-f32": koe("auto", "f32"),
        "koe-avx2": koe("avx2", "f32"),
        "koe-f32-1t": koe("auto", "f32", 1),
        "koe-bf16-1t": koe("auto", "bf16", 1),
        "onnxruntime": python("ort_worker.py", args.model / "kokoro-rand.onnx", args.threads),
        "openvino": python("openvino_worker.py", plain, args.threads, "f32"),
        "openvino-bf16": python("openvino_worker.py", plain, args.threads, "bf16"),
        "pytorch": python("torch_worker.py", args.model, args.threads)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="what make_model.py --onnx wrote")
    parser.add_argument("--koe", type=Path, required=True, help="the built example serve_tokens")
    parser.add_argument("--cache", type=Path, help="koe's cache folder (default: a temporary one)")
    parser.add_argument("--voice", help="of the model's voices (default: the first)")
    parser.add_argument("--columns", type=lambda s: s.split(","), default=["koe", "koe-f32", BASE])
    parser.add_argument("--tokens", type=lambda s: [int(x) for x in s.split(",")], default=[20, 100, 300, 510])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=1, help="rounds of pytorch")
    parser.add_argument("--cold", type=int, default=5, help="fresh processes of each for the cold start; 0 skips")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--commit", help="what --koe was built from (default: this checkout's)")
    parser.add_argument("--note", default="", help="kept in the record")
    parser.add_argument("--record", type=Path, help="file to write (default: ../records/<date>-<cpu>/...json)")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        cache = args.cache or Path(scratch) / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        everything = columns(args, cache)
        commands = {name: everything[name] for name in args.columns}
        packs = sorted((args.model / "voices").glob(f"{args.voice or '*'}.bin"))
        if not packs:
            raise SystemExit(f"{args.model} has no voice {args.voice or 'at all'}")
        voice = packs[0]
        cases = {n: write_case(scratch, n, voice, 1) for n in args.tokens}
        workers = []
        try:
            for name, command in commands.items():
                workers.append(Worker(name, command))
                workers[-1].ready()
            print(", ".join(worker.description for worker in workers)
                  + f"; {args.threads} threads, {args.rounds} rounds")
            for worker in workers:
                worker.pause()
            rows = steady(workers, cases, args.rounds, args.slow_rounds)
            for worker in workers:
                worker.resume()
                worker.close()
        finally:
            # Those that are stopped would outlive us.
            for worker in workers:
                worker.process.kill()
        cold_rows = cold(commands, cases[args.tokens[0]], args.cold) if args.cold else None
        memory_rows = None if args.no_memory else memory(commands, cases)

    here = machine()
    try:
        commit = args.commit or subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"],
                                capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    slug = re.sub(r"[^a-z0-9]+", "-", here["cpu"].lower().replace("(r)", "")).strip("-")
    today = datetime.date.today().isoformat()
    path = args.record or (HERE.parent / "records" / f"{today}-{slug}" / f"peers-{args.threads}t.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "command": "python bench/peers/compare.py --voice {} --columns {} --tokens {} --threads {} --rounds {} "
                   "--slow-rounds {} --cold {}".format(voice.stem, ",".join(args.columns),
                                                       ",".join(map(str, args.tokens)), args.threads, args.rounds,
                                                       args.slow_rounds, args.cold),
        "note": args.note, "date": today, "commit": commit, "machine": here,
        "peers": [worker.description for worker in workers],
        "steady": rows, "cold": cold_rows, "memory": memory_rows}, indent=1) + "\n")
    print(f"recorded in {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
