"""Promise: fills work in any process: many threads, forks, few CPUs, a caller's floating-point environment; and they
use no more than the process may."""

from __future__ import annotations

import ctypes
import ctypes.util
import multiprocessing
import os
import pathlib
import platform
import signal
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastinit
from conftest import control_group, not_sanitized
from conftest import in_new_interpreter as run
from fastinit import _core


def test_many_python_threads_at_once() -> None:
    _core.set_grain(1000)
    expected = fastinit.he_normal(np.zeros((500, 700), np.float32), 700, seed=1, stream="x", threads=1)
    start = threading.Barrier(8)

    def work(_: int) -> bool:
        start.wait()
        return all(
            np.array_equal(
                fastinit.he_normal(np.zeros((500, 700), np.float32), 700, seed=1, stream="x", threads=3), expected
            )
            for _ in range(20)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    _core.set_grain(0)


def test_threads_draw_different_streams() -> None:
    """Calls without a seed from many threads: each gets its own stream, none is used twice or left out."""
    fastinit.manual_seed(11)

    def work(_: int) -> bytes:
        return fastinit.normal(np.zeros(8)).tobytes()

    with ThreadPoolExecutor(8) as pool:
        got = set(pool.map(work, range(400)))
    assert got == {fastinit.normal(np.zeros(8), seed=11, stream=k).tobytes() for k in range(400)}


def in_child(queue: Any) -> None:
    out = fastinit.he_normal(np.zeros((1000, 1000), np.float32), 1000, seed=3, threads=4)
    queue.put(out[::100].tobytes())


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_fork_and_spawn(method: str) -> None:
    """After a threaded fill in the parent, a child fills with threads too."""
    expected = fastinit.he_normal(np.zeros((1000, 1000), np.float32), 1000, seed=3, threads=4)
    context: Any = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=in_child, args=(queue,))
    process.start()
    child = queue.get()
    process.join()
    assert process.exitcode == 0
    assert child == expected[::100].tobytes()


CHILDREN = """
import os, sys, warnings
import numpy as np
import fastinit
warnings.simplefilter("ignore")
{first}
def draw(): return fastinit.normal(np.zeros(4)).tobytes().hex()
draw()
for _ in range(2):
    sys.stdout.flush()
    if os.fork() == 0:
        print(draw())
        sys.stdout.flush()
        os._exit(0)
    os.wait()
print(draw())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_draw_weights_of_their_own() -> None:
    """Unless the seed was set: then a child repeats what its parent would have drawn, as after any seeding."""
    unseeded = run(CHILDREN.format(first="")).split()
    assert len(unseeded) == 3
    assert len(set(unseeded)) == 3
    seeded = run(CHILDREN.format(first="fastinit.manual_seed(4)")).split()
    assert len(seeded) == 3
    assert len(set(seeded)) == 1


def test_processes_start_from_different_seeds() -> None:
    code = "import fastinit; print(fastinit.default_generator.seed)"
    assert len({run(code) for _ in range(4)}) == 4


# --- threads ----------------------------------------------------------------------------------------------------------

THREADS = "import fastinit; print(fastinit.get_num_threads())"


def test_number_of_threads_from_the_environment() -> None:
    assert run(THREADS, FASTINIT_NUM_THREADS="5") == "5"
    assert (
        run("import fastinit; fastinit.set_num_threads(3); print(fastinit.get_num_threads())", FASTINIT_NUM_THREADS="5")
        == "3"
    )


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " 3", "-99999999999999999999"])
def test_a_wrong_number_of_threads_is_refused(value: str) -> None:
    """By every call that would use it, however small, and shown where one looks for what is wrong."""
    code = "import numpy, fastinit\ntry: fastinit.{}\nexcept ValueError as error: print(error)"
    message = f"FASTINIT_NUM_THREADS must be an integer >= 1, got '{value}'"
    for call in ("get_num_threads()", "zeros(numpy.ones(3))"):
        assert run(code.format(call), FASTINIT_NUM_THREADS=value) == message
    assert message in run("import fastinit; fastinit.show_config()", FASTINIT_NUM_THREADS=value)


def test_more_threads_than_anyone_has() -> None:
    assert run("import fastinit; print(fastinit.get_num_threads() > 10**9)", FASTINIT_NUM_THREADS="9" * 30) == "True"
    out = fastinit.zeros(np.ones((3000, 1000)), threads=10**30)
    assert not out.any()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity masks")
def test_the_affinity_mask_is_respected() -> None:
    assert run("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + THREADS) == "1"


FILL = """
import os, signal, threading, time
import numpy as np
import fastinit
# A sanitizer starts a thread of its own with the first of a program: it must be there before they are counted.
threading.Thread(target=threading.Event().wait, daemon=True).start()
out = np.zeros(2**24, np.float32)
def fill(threads): return fastinit.normal(out, seed=1, stream=2, threads=threads)
def tasks(): return os.listdir("/proc/self/task")
def status(task, field):
    with open(f"/proc/self/task/{task}/status") as file:
        return next(line.split()[1] for line in file if line.startswith(field + ":"))
"""
needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@needs_proc
def test_helpers_are_as_many_as_asked_for_and_stay_asleep() -> None:
    code = """
before = len(tasks())
fill(1)
print(len(tasks()) - before)
for _ in range(3): fill(4)
print(len(tasks()) - before)
time.sleep(0.2)
start = time.process_time()
time.sleep(0.2)
print(time.process_time() - start < 0.02)
"""
    assert run(FILL + code).split() == ["0", "3", "True"]


@needs_proc
def test_helpers_take_no_signals() -> None:
    """Those are for the program's own threads. But a fault of a helper's own must reach its handler."""
    code = """
others = set(tasks())
fill(3)
own = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS}
catchable = sum(1 << (s - 1) for s in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - own)
def masks(): return [int(status(helper, "SigBlk"), 16) for helper in set(tasks()) - others]
def blocks_its_own(): return any(mask >> (s - 1) & 1 for mask in masks() for s in own)
print([mask & catchable == catchable for mask in masks()] == [True, True])
deadline = time.monotonic() + 10  # the C library blocks all signals until a new thread has really begun
while blocks_its_own() and time.monotonic() < deadline:
    time.sleep(0.001)
print(blocks_its_own())
print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == set())
"""
    assert run(FILL + code).split() == ["True", "False", "True"]


@needs_proc
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two CPUs")
def test_helpers_follow_the_callers_affinity_mask() -> None:
    code = """
others = set(tasks())
fill(2)
(helper,) = set(tasks()) - others
for n in (1, 2):
    os.sched_setaffinity(0, sorted(available)[:n])
    wanted = status(threading.get_native_id(), "Cpus_allowed_list")
    deadline = time.monotonic() + 20
    while status(helper, "Cpus_allowed_list") != wanted and time.monotonic() < deadline:
        fill(2)  # a helper may come too late for one fill
    print(status(helper, "Cpus_allowed_list") == wanted)
"""
    assert run(FILL + "available = os.sched_getaffinity(0)" + code).split() == ["True", "True"]


@needs_proc
def test_a_fill_ends_where_no_helper_can_be_started() -> None:
    code = """
import resource
expected = fill(1).tobytes()
out[:] = 0
os.setuid(65534) if os.getuid() == 0 else None
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
before = len(tasks())
print(fill(8).tobytes() == expected, len(tasks()) - before)
"""
    assert run(FILL + code).split() == ["True", "0"]


def test_many_callers_share_the_helpers() -> None:
    expected = fastinit.normal(np.zeros(2**20, np.float32), seed=1, threads=1).tobytes()
    with ThreadPoolExecutor(6) as callers:
        work = [
            callers.submit(lambda: fastinit.normal(np.zeros(2**20, np.float32), seed=1, threads=4).tobytes())
            for _ in range(60)
        ]
        assert all(one.result() == expected for one in work)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_of_fills_of_other_threads() -> None:
    code = """
import warnings
warnings.simplefilter("ignore")  # Python warns of forks in a program with threads: that is what is tested
expected = fill(3).tobytes()
stop = threading.Event()
def keep_filling():
    mine = np.zeros(2**20, np.float32)
    while not stop.is_set(): fastinit.normal(mine, seed=1, threads=3)
fillers = [threading.Thread(target=keep_filling) for _ in range(2)]
for filler in fillers: filler.start()
good = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if fill(3).tobytes() == expected else 1)
    good += os.waitpid(child, 0)[1] == 0
stop.set()
for filler in fillers: filler.join()
print(good, fill(3).tobytes() == expected)
"""
    assert run(FILL + code).split() == ["20", "True"]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interpreter_that_ends_during_fills(threads: int) -> None:
    """CPython ends daemon threads where they ask for the GIL again: that is in a fill, or in any other call."""
    code = f"""
def keep_filling(n, **stream):
    mine = np.zeros(n, np.float32)
    while True: fastinit.normal(mine, seed=1, threads={threads}, **stream)
for n in (2**22, 2**20, 2**16, 10):
    threading.Thread(target=keep_filling, args=(n,), kwargs={{"stream": n if n > 10 else "w"}}, daemon=True).start()
time.sleep(0.1)
print("the end")
"""
    for _ in range(3):
        assert run(FILL + code) == "the end"


# Where another thread may be when the interpreter shuts down: without the GIL, or in the caller's Python code.
IN_PYTHON = {
    "a fill": "inside.set(); fastinit._core.set_target('portable'); fastinit.normal(out, seed=1, threads=1)",
    "an int's __index__": "fastinit.normal(out, seed=Index())",
    "a float's __float__": "fastinit.normal(out, std=Real(1), seed=1)",
    "a sequence's items": "fastinit.normal(out, seed=1, global_shape=Sequence(), offset=(0,))",
    "the name of a stream": "fastinit.Generator(1).normal(out, stream=Name('w'))",
    "__dlpack_device__": "fastinit.normal(Tensor('__dlpack_device__'), seed=1)",
    "a device's number": "fastinit.normal(Tensor('number'), seed=1)",
    "is_neg": "fastinit.normal(Tensor('is_neg'), seed=1)",
    "__dlpack__": "fastinit.normal(Tensor('__dlpack__'), seed=1)",
    "a tensor that is read": "fastinit.summary(Tensor('__dlpack__'))",
    "a lookup of __dlpack__": "fastinit.normal(Lookup(), seed=1)",
    "a message": "fastinit.normal(out, seed=1, threads=Shown())",
    "the owner's refusal": "fastinit.normal(Tensor('refuses'), seed=1)",
}


@needs_proc
@pytest.mark.parametrize("place", IN_PYTHON)
def test_an_interpreter_that_ends_inside_of_a_call(place: str) -> None:
    """No frame of C++ is unwound: objects would be given back without the GIL. The thread rests, as CPython's do since
    3.14."""
    code = f"""
import sys
inside = threading.Event()
def stay():
    inside.set()
    time.sleep(0.3)
class Index:
    def __index__(self): stay()
class Real(np.longdouble):
    def __float__(self): stay()
class Sequence:
    def __len__(self): return 1
    def __getitem__(self, i): stay()
class Name(str):
    def __hash__(self): stay()
class Shown:
    def __repr__(self): stay()
class Refusal(Exception):
    def __str__(self): stay()
class Lookup:
    def __getattr__(self, name): stay()
class Tensor:
    def __init__(self, place): self.place = place
    def ask(self, name, **options):
        if name == self.place: stay()
        if self.place == "refuses": raise Refusal
        return getattr(out, name)(**options)
    def __dlpack_device__(self): return (Index(), 0) if self.place == "number" else self.ask("__dlpack_device__")
    def __dlpack__(self, **options): return self.ask("__dlpack__", **options)
    def is_neg(self): return self.place == "is_neg" and stay()
class Late:  # given up while the interpreter shuts down: then the other thread asks for the GIL
    def __del__(self, listdir=os.listdir, sleep=time.sleep, write=os.write):
        before = listdir('/proc/self/task')
        sleep(0.6)
        write(1, b"all there" if listdir('/proc/self/task') == before else b"one has gone")
def call():
    try: {IN_PYTHON[place]}
    finally: os.write(1, b"it returned, ")
sys.late = Late()
threading.Thread(target=call, daemon=True).start()
assert inside.wait(30)
"""
    assert run(FILL + code) == "all there"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@not_sanitized
def test_a_fill_ends_before_ctrl_c_is_heard() -> None:
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
expected = fill(1).tobytes()
fastinit._core.set_target("portable")  # the slow one: some tenths of a second
out[:] = 0
seen = []
def press(): seen.append(out.tobytes() == expected) or os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.05, press).start()
try:
    for _ in range(100): fill(2)
except KeyboardInterrupt:
    print(seen, out.tobytes() == expected)
"""
    assert run(FILL + code) == "[False] True"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity masks")
def test_one_cpu_and_more_threads_than_anyone_has() -> None:
    code = """
expected = fill(1).tobytes()
for threads in (None, 2, 10**6):
    out[:] = 0
    print(fill(threads).tobytes() == expected)
"""
    one_cpu = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert run(FILL + code).split() == ["True"] * 3
    assert run(FILL + one_cpu + code).split() == ["True"] * 3


@needs_proc
def test_a_real_quota_below_one_cpu() -> None:
    """A fifth of a CPU. (core_test reads made-up files of both versions.)"""
    code = """
import zlib
print(fastinit.get_num_threads(), *{zlib.crc32(fill(threads)) for threads in (None, 8)})
"""
    expected = fastinit.normal(np.zeros(2**24, np.float32), seed=1, stream=2, threads=1)
    with control_group(("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 100000")) as procs:
        join = f"with open({str(procs)!r}, 'w') as procs: procs.write('0')\n"
        assert run(join + FILL + code).split() == ["1", str(zlib.crc32(expected.tobytes()))]


@needs_proc
@not_sanitized
def test_a_fill_ends_where_there_is_no_memory() -> None:
    """Not for a helper's stack, nor for a new array, which is refused."""
    code = """
import resource
expected = fill(1).tobytes()
out[:] = 0
with open("/proc/self/statm") as file: used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**22, used + 2**22))
before = len(tasks())
print(memoryview(fill(8)).cast("B") == expected, len(tasks()) - before)
try: fastinit.empty(2**26)
except MemoryError as error: print(error)
print(fill(8).ravel()[0] == np.frombuffer(expected, np.float32)[0])
"""
    assert run(FILL + code).split("\n") == ["True 0", "cannot allocate 268435456 bytes", "True"]


def test_the_gil_is_released_in_large_fills() -> None:
    """Another thread counts while a fill runs. Under the GIL it would stand still for the length of the fill."""
    out = np.zeros(2**26, np.float32)
    fastinit.normal(out, seed=1, threads=1)
    started, done = threading.Event(), threading.Event()
    seen: list[bool] = []

    def fill() -> None:
        started.set()
        fastinit.normal(out, seed=1, threads=1)
        done.set()

    worker = threading.Thread(target=fill)
    worker.start()
    started.wait()
    while not done.is_set():
        seen.append(True)
        done.wait(0.001)
    worker.join()
    assert len(seen) > 5


# --- huge pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "shown"), [("0", "0"), ("1", "1"), ("auto", "auto"), ("", "auto")])
def test_huge_pages_by_the_environment(value: str, shown: str) -> None:
    code = "import fastinit; print(fastinit.show_config(mode='dicts')['huge_pages'])"
    assert run(code, FASTINIT_HUGE_PAGES=value) == shown


@pytest.mark.parametrize("value", ["2", "yes", " 1", "AUTO"])
def test_a_wrong_wish_for_huge_pages_is_refused(value: str) -> None:
    """By every fill, however small, which changes nothing; and shown where one looks for what is wrong."""
    code = """
import numpy, fastinit
out = numpy.ones(3)
for fill in (fastinit.zeros, fastinit.normal):
    try: fill(out)
    except ValueError as error: print(error, out.sum())
"""
    message = f"FASTINIT_HUGE_PAGES must be 0, 1 or auto, got '{value}'"
    assert run(code, FASTINIT_HUGE_PAGES=value).splitlines() == [f"{message} 3.0"] * 2
    assert message in run("import fastinit; fastinit.show_config()", FASTINIT_HUGE_PAGES=value)


# --- targets ----------------------------------------------------------------------------------------------------------


def test_a_target_can_be_forced_by_the_environment() -> None:
    for target in _core.config()["targets_found"]:
        assert run("import fastinit; print(fastinit._core.config()['target'])", FASTINIT_TARGET=target) == target


def test_an_unknown_target_is_refused() -> None:
    code = "import numpy, fastinit\ntry: fastinit.zeros(numpy.ones(3))\nexcept ValueError as error: print(error)"
    message = run(code, FASTINIT_TARGET="sse9")
    assert message.startswith("FASTINIT_TARGET: the target 'sse9' cannot run here; these can: ")
    assert message.count("portable") == 2
    assert message in run("import fastinit; fastinit.show_config()", FASTINIT_TARGET="sse9")


def test_the_targets_of_this_machine() -> None:
    built = _core.config()["targets_built"]
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        assert built == ["avx512", "avx2_vaes", "avx2", "portable"]
    elif machine in ("aarch64", "arm64"):
        assert built == ["neon", "portable"]
    if pathlib.Path("/proc/cpuinfo").exists() and machine == "x86_64":
        flags = set(pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())
        found = _core.config()["targets_found"]
        avx2 = {"avx2", "fma", "f16c", "aes"}
        avx512 = avx2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl", "vaes"}
        assert ("avx2" in found) == (avx2 <= flags)
        assert ("avx2_vaes" in found) == (avx2 | {"vaes"} <= flags)
        assert ("avx512" in found) == (avx512 <= flags)


# --- floating-point environment -------------------------------------------------------------------------------------


class Environment(ctypes.Structure):
    """glibc's fenv_t: the control register that matters is in the last 4 bytes on x86-64, the first 4 on aarch64."""

    _fields_ = (("words", ctypes.c_uint32 * 8),)


# Where it is, the bit where the rounding mode begins, and what flushes subnormal results, operands, or both.
CONTROL = {
    "x86_64": (7, 13, (0, 0x8000, 0x0040, 0x8040)),
    "aarch64": (0, 22, (0, 1 << 24)),
}
GLIBC = platform.libc_ver()[0] == "glibc" and platform.machine() in CONTROL


def fills(dtype: np.dtype[Any]) -> bytes:
    def new() -> Any:
        return np.zeros((40, 30), dtype)

    return b"".join(
        x.tobytes()
        for x in (
            fastinit.he_normal(new(), 7, a=0.3, seed=1),
            fastinit.xavier_uniform(new(), 7, 11, gain=5 / 3, seed=1),
            fastinit.variance_scaling(
                new(), scale=0.7, mode="fan_geo", distribution="truncated_normal", layout="torch", seed=1
            ),
            fastinit.truncated_normal(new(), low=-1.7, high=0.3, mean=0.1, seed=1),
            fastinit.truncated_normal(new(), low=5.1, high=6.3, seed=1),
            fastinit.uniform(new(), low=-0.1, high=0.7, seed=1),
            # Subnormal parameters and values.
            fastinit.normal(new(), std=1e-39, seed=1, threads=2),
            fastinit.normal(new(), std=1e-310, seed=1),
            fastinit.constant(new(), 1e-39),
        )
    )


@pytest.mark.skipif(not GLIBC, reason="needs glibc's fenv_t")
@pytest.mark.parametrize("rounding", range(4))
def test_the_callers_floating_point_environment_is_neither_obeyed_nor_changed(
    target: str, dtype: np.dtype[Any], rounding: int
) -> None:
    """Each rounding mode, with and without flushing of subnormals (as torch.set_flush_denormal does)."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    place, bit, flushes = CONTROL[platform.machine()]
    usual, now = Environment(), Environment()
    assert libm.fegetenv(ctypes.byref(usual)) == 0
    expected = fills(dtype)
    for flush in flushes:
        foreign = Environment.from_buffer_copy(usual)
        foreign.words[place] = (usual.words[place] & ~(3 << bit)) | rounding << bit | flush
        assert libm.fesetenv(ctypes.byref(foreign)) == 0
        try:
            got = fills(dtype)
            libm.fegetenv(ctypes.byref(now))
        finally:
            libm.fesetenv(ctypes.byref(usual))
        flags = 0x3F if platform.machine() == "x86_64" else 0  # which Python's own arithmetic raises
        assert now.words[place] | flags == foreign.words[place] | flags
        assert got == expected, hex(flush)


# --- import -----------------------------------------------------------------------------------------------------------


def test_import_brings_in_nothing_but_itself() -> None:
    code = "import numpy, sys; before = set(sys.modules); import fastinit; print(*sorted(set(sys.modules) - before))"
    new = run(code).split()
    files = ["_arguments", "_core", "_fans", "_lazy", "_methods", "_rounding", "arrays", "initializers", "random"]
    files += ["recipes", "signal", "structured"]
    assert [name for name in new if name.startswith("fastinit")] == ["fastinit", *(f"fastinit.{f}" for f in files)]
    assert {name.partition(".")[0] for name in new} <= {"fastinit", "numpy", "__future__", *sys.stdlib_module_names}
