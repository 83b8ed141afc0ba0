#!/usr/bin/env python3
"""Let PyTorch's CUDA build for Linux run on the CPU without the 3 GB of NVIDIA's packages.

usage: torch_without_cuda.py VENV/lib/python3.*/site-packages/torch/lib     (needs readelf and gcc)

That build is what pip installs on x86-64 unless told otherwise. With `pip install --no-deps` its Python
part is linked to libraries that are not there. This writes small ones in their place: functions return
an error or a zeroed object, type information is valid, nothing works on a GPU. The CPU's code is
untouched. Tried with PyTorch 2.8.0.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# What stays, and what that may find on the system.
KEPT = ("libtorch_python.so", "libtorch.so", "libtorch_cpu.so", "libc10.so", "libshm.so")
SYSTEM = ("libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2",
          "libpthread.so.0", "libdl.so.2", "librt.so.1")
# One stand-in has all symbols; these are only named by what is linked to them.
FULL = "libtorch_cuda.so"
EMPTY = ("libc10_cuda.so", "libcudart.so.12", "libcudnn.so.9", "libcusparseLt.so.0", "libcufile.so.0",
         "libcupti.so.12", "libtorch_cuda_linalg.so", "libcaffe2_nvrtc.so")
# Functions that are called while importing and give a reference.
BY_REFERENCE = ("get_gil_checker", "getTuningContext", "getFreeMutex", "getDeviceProperties",
                "getDefaultCUDAGenerator", "IntraNodeCommUsage")


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *map(str, arguments)], capture_output=True, text=True).stdout.splitlines()


def symbols(path):
    """Names that a library has, and those that it must find elsewhere."""
    rows = [row for row in map(str.split, readelf("--dyn-syms", path)) if len(row) > 7 and row[0].endswith(":")]
    name = [row[7].split("@")[0] for row in rows]
    return ({n for n, row in zip(name, rows) if row[6] != "UND"},
            {n for n, row in zip(name, rows) if row[6] == "UND" and row[4] == "GLOBAL"})


def relocated(path, kinds):
    """Names that relocations of these kinds want."""
    pattern = re.compile(rf"\S+\s+\S+\s+(?:{kinds})\s+\S+\s+(\S+)")
    return {match[1].split("@")[0] for match in map(pattern.match, readelf("-r", path)) if match}


def assembly(missing, functions, data):
    """A source that defines every missing name as what it most likely is."""
    text, objects = [".text"], [".data", ".Lscratch: .zero 4096"]
    for name in missing:
        is_function = (name in functions or name not in data or name.startswith("cuda")
                       or (name.startswith("_ZN") and name.endswith("Ev")))
        if is_function:
            gives_reference = any(part in name for part in BY_REFERENCE)
            # 100 is cudaErrorNoDevice.
            body = ("leaq .Lscratch(%rip),%rax" if gives_reference
                    else f"mov ${100 if name.startswith('cuda') else 0},%eax")
            text += [f'.globl "{name}"', f'.type "{name}",@function', f'"{name}": {body}', " ret"]
        elif name.startswith("_ZTI"):  # type information: a table, a name, a base
            objects += [f'.globl "{name}"', ".balign 16",
                        f'"{name}": .quad _ZTVN10__cxxabiv117__class_type_infoE+16', f' .quad ".Ln_{name}"',
                        " .zero 64", f'".Ln_{name}": .asciz "{name[4:]}"']
        else:
            objects += [f'.globl "{name}"', ".balign 16", f'"{name}": .zero 512', f'.size "{name}",512']
    return text + objects


def main():
    lib = Path(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
    if not (lib / "libtorch_cpu.so").exists():
        sys.exit(f"{lib} is not PyTorch's folder of libraries")
    have, want, functions, data = set(), set(), set(), set()
    for path in (lib / name for name in KEPT):
        defined, undefined = symbols(path)
        have |= defined
        want |= undefined
        functions |= relocated(path, "R_X86_64_JUMP_SLOT")
        data |= relocated(path, "R_X86_64_GLOB_DAT|R_X86_64_64|R_X86_64_COPY")
    places = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"]
    for name in SYSTEM:
        have |= next((symbols(path)[0] for path in (Path(at, name) for at in places) if path.exists()), set())
    have |= symbols(lib / "libgomp.so.1")[0]
    missing = sorted(name for name in want - have if not name.startswith(("Py", "_Py")))
    no_stack = ['.section .note.GNU-stack,"",@progbits']
    with tempfile.TemporaryDirectory() as scratch:
        for name in (FULL, *EMPTY):
            source, new = Path(scratch, "stand-in.s"), lib / f"{name}.new"
            lines = assembly(missing, functions, data) if name == FULL else []
            source.write_text("\n".join(lines + no_stack) + "\n", encoding="ascii")
            libraries = ["-l:libstdc++.so.6"] if name == FULL else []
            subprocess.check_call(["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", "-o", new, source, *libraries])
            new.replace(lib / name)
    print(f"{len(missing)} symbols of CUDA stood in for")


if __name__ == "__main__":
    main()
