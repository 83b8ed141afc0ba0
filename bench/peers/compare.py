#!/usr/bin/env python3
"""Time koe against ONNX Runtime fp32 on this machine: same model, same tokens, same style, same threads.

Both run as long-lived processes that answer one line protocol (see ort_worker.py). After a warm-up of each
length they take turns, A B B A ..., and the one that waits is stopped, so neither a neighbour's burst of
work nor the peer's spinning threads favours one of them. Answers are checked before they are timed: as many
samples as frames, the level of the peer's sound, durations printed where they differ. Cold start is the time
from starting a process to its first result at the shortest length, with the files in the page cache.

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
        return {key: int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024
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


def check(n, ours, theirs):
    """Both spoke, and nearly the same thing; returns a remark for the table."""
    for name, (_, samples, rms, frames, _) in (("koe", ours), ("onnxruntime", theirs)):
        if samples != sum(frames) * FRAME_SAMPLES or len(frames) != n + 2 or not rms > 0:
            raise SystemExit(f"{name} at {n} tokens: {samples} samples, {sum(frames)} frames, rms {rms}")
    if not 1 / LEVEL_RATIO < ours[2] / theirs[2] < LEVEL_RATIO:
        raise SystemExit(f"levels at {n} tokens differ: rms {ours[2]} against {theirs[2]}")
    different = sum(a != b for a, b in zip(ours[3], theirs[3]))
    return f"{different} of {n + 2} durations differ" if different else "durations equal"


def steady(workers, cases, rounds):
    """Rows of the steady state, by length."""
    rows = []
    for n, case in cases.items():
        answers = []
        for worker in workers:
            worker.resume()
            answers.append(worker.speak(case))
            worker.pause()
        remark = check(n, *answers)
        times = {worker.name: [] for worker in workers}
        for turn in range(rounds):
            for worker in workers if turn % 2 == 0 else workers[::-1]:
                worker.resume()
                answer = worker.speak(case)
                worker.pause()
                times[worker.name].append({"ms": answer[0], "cpu": answer[4]})
        audio = answers[1][1] / SAMPLE_RATE_HZ
        row = {"tokens": n, "audio_s": audio, "check": remark, "times": times}
        for worker in workers:
            milliseconds = [x["ms"] for x in times[worker.name]]
            row[worker.name] = {"median_ms": statistics.median(milliseconds), "best_ms": min(milliseconds),
                                "rtf": statistics.median(milliseconds) / 1e3 / audio,
                                "cpu": statistics.median(x["cpu"] for x in times[worker.name])}
        row["ratio"] = row[workers[1].name]["median_ms"] / row[workers[0].name]["median_ms"]
        rows.append(row)
        a, b = (row[worker.name] for worker in workers)
        print(f"{n:4d} tokens {audio:6.2f} s | koe {a['median_ms']:8.1f} ms (best {a['best_ms']:8.1f}, RTF "
              f"{a['rtf']:.4f}, cpu {a['cpu']:.2f}) | onnxruntime {b['median_ms']:8.1f} ms (best {b['best_ms']:8.1f}, "
              f"RTF {b['rtf']:.4f}, cpu {b['cpu']:.2f}) | {row['ratio']:.2f}x | {remark}", flush=True)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="what make_model.py --onnx wrote")
    parser.add_argument("--koe", type=Path, required=True, help="the built example serve_tokens")
    parser.add_argument("--cache", type=Path, help="koe's cache folder (default: a temporary one)")
    parser.add_argument("--voice", default="af_heart")
    parser.add_argument("--isa", help="instructions that koe is held to (default: the best of this CPU)")
    parser.add_argument("--tokens", type=lambda s: [int(x) for x in s.split(",")], default=[20, 100, 300, 510])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", type=int, default=5, help="fresh processes of each for the cold start; 0 skips")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--commit", help="what --koe was built from (default: this checkout's)")
    parser.add_argument("--note", default="", help="kept in the record")
    parser.add_argument("--record", type=Path, help="file to write (default: ../records/<date>-<cpu>/...json)")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        cache = args.cache or Path(scratch) / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        commands = {
            "koe": [str(args.koe), str(args.model), str(cache), str(args.threads), *([args.isa] if args.isa else [])],
            "onnxruntime": [sys.executable, str(HERE / "ort_worker.py"), str(args.model / "kokoro-rand.onnx"),
                            str(args.threads)]}
        voice = args.model / "voices" / f"{args.voice}.bin"
        cases = {n: write_case(scratch, n, voice, 1) for n in args.tokens}
        workers = [Worker(name, command).ready() for name, command in commands.items()]
        print(", ".join(worker.description for worker in workers) + f"; {args.threads} threads, {args.rounds} rounds")
        for worker in workers:
            worker.pause()
        rows = steady(workers, cases, args.rounds)
        for worker in workers:
            worker.resume()
            worker.close()
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
    path = args.record or (HERE.parent / "records" / f"{today}-{slug}" / f"ort-fp32-{args.threads}t{f'-{args.isa}' if args.isa else ''}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "command": "python bench/peers/compare.py --tokens {} --threads {} --rounds {} --cold {}{}".format(
            ",".join(map(str, args.tokens)), args.threads, args.rounds, args.cold,
            f" --isa {args.isa}" if args.isa else ""),
        "note": args.note, "date": today, "commit": commit, "machine": here,
        "peers": [worker.description for worker in workers],
        "steady": rows, "cold": cold_rows, "memory": memory_rows}, indent=1) + "\n")
    print(f"recorded in {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
