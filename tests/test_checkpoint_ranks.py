"""``checkpoint`` in several processes: together they write the bytes of one, in any order, and when some are killed.

Each section is a promise.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from conftest import not_sanitized, writing_calls
from fastinit.__main__ import main
from fastinit._checkpoint import _laws, _plan, _values, _write
from fastinit._checkpoint._ranks import Share, share_of

SHAPES = {f"{i}.weight": [40 + i, 50] for i in range(7)}  # seven files, by SIZE
SIZE = "9KB"
INDEX = "model.safetensors.index.json"
SAID = ("RANK", "WORLD_SIZE", "GROUP_WORLD_SIZE")  # and all of SLURM_, OMPI_ and PMI_
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "OMPI_", "PMI_", *SAID))}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(PLAIN):
        monkeypatch.delenv(name)


@pytest.fixture
def command(tmp_path: pathlib.Path) -> list[str]:
    (tmp_path / "shapes.json").write_text(json.dumps(SHAPES))
    return ["checkpoint", "--shapes", str(tmp_path / "shapes.json"), "--shard-size", SIZE, "--seed", "3"]


@pytest.fixture
def whole(command: list[str], tmp_path: pathlib.Path) -> dict[str, bytes]:
    """What one process writes."""
    assert main([*command, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    found = files_of(tmp_path / "whole")
    assert len(found) == len(SHAPES) + 1
    return found


def files_of(path: pathlib.Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def ranks(n: int, *of: int) -> list[list[str]]:
    return [["--rank", str(rank), "--world-size", str(n)] for rank in of or range(n)]


# --- several processes write what one writes ------------------------------------------------------------------------

LAUNCHED = {
    "torchrun": ("RANK", "WORLD_SIZE", {}),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", {"SLURM_STEP_ID": "0"}),
    "mpirun of Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", {}),
    "mpirun of MPICH": ("PMI_RANK", "PMI_SIZE", {}),
}


@pytest.mark.parametrize("launcher", LAUNCHED)
def test_processes_of_a_launcher(
    launcher: str, command: list[str], whole: dict[str, bytes], tmp_path: pathlib.Path
) -> None:
    """All at once. Each says which files it has written; at least one has seen all of them."""
    rank, size, more = LAUNCHED[launcher]
    out = tmp_path / "out"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "fastinit", *command, "--out", str(out), "--json"],
            env={**PLAIN, rank: str(i), size: "3", **more},
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(3)
    ]
    done = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert files_of(out) == whole
    files = [name for name in whole if name != INDEX]
    assert [(each["rank"], each["world_size"]) for each in done] == [(0, 3), (1, 3), (2, 3)]
    assert [list(each["files"]) for each in done] == [files[i::3] for i in range(3)]
    assert sum(each["written_bytes"] for each in done) == sum(len(whole[name]) for name in files)
    assert [] in [each["missing_files"] for each in done]


def test_torchrun_itself(command: list[str], whole: dict[str, bytes], tmp_path: pathlib.Path) -> None:
    """As one starts it in a batch script of Slurm."""
    pytest.importorskip("torch")
    out = tmp_path / "out"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    slurm = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_ID": "0"}
    done = subprocess.run(
        [*torchrun, "-m", "fastinit", *command, "--out", str(out)],
        env={**PLAIN, **slurm},
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert files_of(out) == whole
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {"rank 0 of 2", "rank 1 of 2"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_last_rank_writes_the_index(
    order: tuple[int, ...],
    command: list[str],
    whole: dict[str, bytes],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whichever that is: an index names no file that is not there."""
    out = tmp_path / "out"
    for n, arguments in enumerate(ranks(3, *order), 1):
        assert not (out / INDEX).exists()
        assert main([*command, "--out", str(out), *arguments]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"rank {order[n - 1]} of 3: ")
        assert ("all files are there" in said) == (n == 3)
        assert ("not whole yet: other ranks have still to write model-0000" in said) == (n < 3)
    assert files_of(out) == whole


@pytest.mark.parametrize("n", [7, 8, 20])
def test_more_ranks_than_files(n: int, command: list[str], whole: dict[str, bytes], tmp_path: pathlib.Path) -> None:
    """Those without a file may come first, in the middle, and when all is done."""
    out = tmp_path / "out"
    for arguments in ranks(n, *range(n - 1, 6, -1), n - 1, *range(7), *range(7, n)):
        assert main([*command, "--out", str(out), "--quiet", *arguments, "--resume"]) == 0
    assert files_of(out) == whole


@pytest.mark.parametrize("name", ["model", "one.safetensors"])
def test_one_file_is_written_by_one_rank(
    name: str, command: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = command.index("--shard-size")
    del command[sizes : sizes + 2]
    assert main([*command, "--out", str(tmp_path / "a" / name), "--quiet"]) == 0
    for arguments in ranks(3, 2, 0, 1):
        assert main([*command, "--out", str(tmp_path / "b" / name), "--json", *arguments]) == 0
        done = json.loads(capsys.readouterr().out)
        assert len(done["files"]) == (arguments[1] == "0")
        assert bool(done["missing_files"]) == (arguments[1] == "2")
    assert main([*command, "--out", str(tmp_path / "c" / name), *ranks(3)[2]]) == 0
    assert "index" not in capsys.readouterr().out  # there will be none
    folders = [tmp_path / a for a in "ab"] if "." in name else [tmp_path / a / name for a in "ab"]
    assert files_of(folders[0]) == files_of(folders[1])


@pytest.fixture
def planned() -> _plan.Plan:
    """Files, an index, and a text that is written before them."""
    tensors = [_laws.Wanted(name, "F32", tuple(shape)) for name, shape in SHAPES.items()]
    return _plan.plan(
        tensors, _values.Values(_laws.assigned(tensors), 3), shard_bytes=9000, texts={"config.json": "{}"}
    )


def in_threads(n: int, run: Any) -> list[BaseException]:
    errors: list[BaseException] = []

    def each(rank: int) -> None:
        try:
            run(rank)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=each, args=(rank,)) for rank in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return errors


def no_lock(descriptor: int, how: int) -> None:
    raise OSError(errno.ENOTSUP, "no locks here")


@pytest.mark.parametrize("locks", [True, False])
def test_many_ranks_that_end_at_once(
    locks: bool, planned: _plan.Plan, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks on files are those of each opened file, so threads stand for processes here."""
    if not locks:
        monkeypatch.setattr(fcntl, "flock", no_lock)
    _write.write(planned, str(tmp_path / "whole"))
    for i in range(20):
        out = tmp_path / str(i)
        written: list[_write.Written] = []

        def run(rank: int, out: pathlib.Path = out, written: list[_write.Written] = written) -> None:
            written.append(_write.write(planned, str(out), rank=rank, world_size=9))

        assert in_threads(9, run) == []
        assert files_of(out) == files_of(tmp_path / "whole")
        assert [] in [each.missing for each in written]
        shutil.rmtree(out)


LATE: dict[str, Any] = {"rank": 8, "world_size": 9}  # which has no file of its own


@pytest.mark.parametrize("fails", [False, True])
def test_two_ranks_write_the_index(fails: bool, planned: _plan.Plan, tmp_path: pathlib.Path) -> None:
    """The second waits for the first, and writes it if that one did not."""
    _write.write(planned, str(tmp_path / "whole"))
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    (tmp_path / "out" / INDEX).unlink()
    late = threading.Thread(target=_write.write, args=(planned, str(tmp_path / "out")), kwargs=LATE)
    with contextlib.suppress(KeyError), _write._beside(str(tmp_path / "out"), INDEX) as file:
        late.start()
        late.join(0.3)
        assert late.is_alive()
        os.pwrite(file, planned.last[INDEX].encode(), 0)
        if fails:
            raise KeyError
    late.join(60)
    assert not late.is_alive()
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_part_of_an_index_that_nobody_writes(
    planned: _plan.Plan, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written again, except where no lock says that nobody does."""
    _write.write(planned, str(tmp_path))
    whole = files_of(tmp_path)
    (tmp_path / INDEX).rename(tmp_path / f".{INDEX}.part")
    _write.write(planned, str(tmp_path), **LATE)
    assert files_of(tmp_path) == whole
    (tmp_path / INDEX).rename(tmp_path / f".{INDEX}.part")
    monkeypatch.setattr(fcntl, "flock", no_lock)
    monkeypatch.setattr(_write, "_PATIENCE", 0.1)
    with pytest.raises(FileExistsError, match="another run may be writing it, and this file system has no locks"):
        _write.write(planned, str(tmp_path), **LATE)


def test_names_of_others_are_on_the_disk_before_the_index(
    planned: _plan.Plan, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write.write(planned, str(tmp_path))
    (tmp_path / INDEX).unlink()
    calls = writing_calls(monkeypatch)
    _write.write(planned, str(tmp_path), **LATE)
    assert calls == ["fsync of the folder", "pwrite", "fsync", "rename", "fsync of the folder"]


# --- a rank that was killed, and runs of which some are others ------------------------------------------------------

DYING = """
import os, signal, sys
from fastinit.__main__ import main

pwrite, calls = os.pwrite, 0

def dying(file, data, position):
    global calls
    calls += 1
    if calls == int(sys.argv[1]):
        try:
            pwrite(file, bytes(data)[: len(data) // 2], position)
        except OSError:  # past the page cache, where only whole pages can be written
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return pwrite(file, data, position)

os.pwrite = dying
sys.exit(main(sys.argv[2:]))
"""


@not_sanitized
@pytest.mark.parametrize("call", [2, 4])
def test_a_rank_is_killed(call: int, command: list[str], whole: dict[str, bytes], tmp_path: pathlib.Path) -> None:
    """In its first file, in its second. What is there is whole, without an index; the same command with --resume goes
    on, whatever the number of ranks."""
    out = tmp_path / "out"
    command = [*command, "--out", str(out), "--quiet"]
    processes = [
        subprocess.Popen([sys.executable, "-c", DYING, str(call if rank == 1 else 0), *command, *arguments], env=PLAIN)
        for rank, arguments in enumerate(ranks(3))
    ]
    assert [process.wait(60) for process in processes] == [0, -signal.SIGKILL, 0]
    there = files_of(out)
    assert INDEX not in there
    parts = [name for name in there if name.startswith(".")]
    assert len(parts) == 1
    assert {name: there[name] for name in there if name not in parts}.items() < whole.items()
    assert len(there) == {2: 6, 4: 7}[call]
    shutil.copytree(out, tmp_path / "copy")
    inodes = {name: (out / name).stat().st_ino for name in there}
    for arguments in ranks(3):
        assert main([*command, *arguments, "--resume"]) == 0
    assert files_of(out) == whole
    assert {name: (out / name).stat().st_ino for name in there if name not in parts}.items() <= inodes.items()
    shutil.rmtree(out)
    (tmp_path / "copy").rename(out)
    for arguments in ranks(2):
        assert main([*command, *arguments, "--resume"]) == 0
    assert files_of(out) == whole


def test_one_of_several_files_is_no_checkpoint(
    command: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where one rank alone has run. The file itself is as it should be, and a whole one may have such a name."""
    out = tmp_path / "out"
    name = "model-00004-of-00007.safetensors"
    assert main([*command, "--out", str(out), *ranks(7)[3]]) == 0
    assert list(files_of(out)) == [name]
    again = ["checkpoint", "--like", str(out), "--out", str(tmp_path / "again")]
    for arguments in (["verify", str(out)], ["diff", str(out), str(out)], again):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert f"its files alone, and has {name}: name one of them" in capsys.readouterr().err
    assert main(["verify", str(out / name)]) == 0
    (out / name).rename(out / "model-00001-of-00001.safetensors")
    assert main(["verify", str(out)]) == 0


def test_own_files_are_refused_without_resume(
    command: list[str], whole: dict[str, bytes], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of other ranks, which may have begun earlier, are not."""
    command = [*command, "--out", str(tmp_path / "out"), "--quiet"]
    for arguments in ranks(3):
        assert main([*command, *arguments]) == 0
        assert main([*command, *arguments]) == 1
        words = capsys.readouterr().err
        assert f"rank {arguments[1]} of 3: " in words
        assert f"model-0000{int(arguments[1]) + 1}-of-00007.safetensors" in words
        assert "--resume" in words
    assert files_of(tmp_path / "out") == whole


def test_ranks_of_another_run(command: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*command, "--out", str(out), "--quiet", *ranks(3)[0]]) == 0
    before = files_of(out)
    for more in (["--seed", "4"], ["--law", "zeros"], ["--shard-size", "20KB"]):
        for resume in ([], ["--resume"]):
            for arguments in ranks(3):
                assert main([*command, *more, "--out", str(out), *arguments, *resume]) == 1
                assert "; nothing was written" in capsys.readouterr().err
    assert files_of(out) == before


def test_a_rank_sees_at_the_end_that_another_wrote_other_files(planned: _plan.Plan, tmp_path: pathlib.Path) -> None:
    """Where both began at the same time."""
    tensors = [_laws.Wanted(name, "F32", tuple(shape)) for name, shape in SHAPES.items()]
    strange = _plan.plan(tensors, _values.Values(_laws.assigned(tensors), 4), shard_bytes=9000)

    def advance(n: int) -> None:
        if not (tmp_path / strange.shards[1].name).exists():
            _write.write(strange, str(tmp_path), rank=1, world_size=7)

    with pytest.raises(FileExistsError, match=r"is not what this run would write: its header is another$"):
        _write.write(planned, str(tmp_path), rank=0, world_size=2, advance=advance)
    assert INDEX not in os.listdir(tmp_path)


def test_the_disk_is_to_have_room_for_all_ranks(
    planned: _plan.Plan, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what another has written of a part counts as room."""
    needed = sum(shard.n_bytes for shard in planned.shards)
    (tmp_path / f".{planned.shards[0].name}.part").write_bytes(bytes(1000))
    for free, fits in ((needed - 1001, False), (needed - 1000, True)):
        usage = shutil._ntuple_diskusage(needed, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        with contextlib.nullcontext() if fits else pytest.raises(OSError, match=f"{needed} bytes are needed"):
            _write.write(planned, str(tmp_path), rank=1, world_size=3)


# --- what the environment says, or is refused -----------------------------------------------------------------------

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "7", "SLURM_NTASKS": "2"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, (0, 1, None)),
        (TORCHRUN, (1, 4, "torchrun")),
        (SRUN, (1, 2, "srun")),
        (OPEN_MPI, (1, 2, "mpirun of Open MPI")),
        (MPICH, (1, 2, "mpirun of MPICH")),
        # Both say the same, as where srun starts processes by PMI.
        ({**SRUN, **MPICH}, (1, 2, "srun")),
        # torchrun was started by srun, or mpirun, once on each machine.
        ({**SRUN, **TORCHRUN}, (1, 4, "torchrun")),
        ({**OPEN_MPI, **TORCHRUN}, (1, 4, "torchrun")),
        # A batch script, which has no step; shells of salloc, whose steps have numbers of their own; a step of one.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "5"}, (0, 1, None)),
        ({**SRUN, "SLURM_STEP_ID": "4294967291"}, (0, 1, None)),
        ({**SRUN, "SLURM_STEP_ID": "4294967290"}, (0, 1, None)),
        ({**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"}, (0, 1, None)),
        # A launcher of one process, within one of more.
        ({**SRUN, "RANK": "0", "WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "1"}, (1, 2, "srun")),
        # Somebody's own variable.
        ({"WORLD_SIZE": "8"}, (0, 1, None)),
        ({"RANK": "3", "WORLD_SIZE": ""}, (0, 1, None)),
        ({**SRUN, "WORLD_SIZE": "8"}, (1, 2, "srun")),
    ],
)
def test_environments(environment: dict[str, str], share: tuple[int, int, str | None]) -> None:
    assert share_of(None, None, environment) == Share(*share)
    assert share_of(5, 6, environment) == Share(5, 6, None)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {**TORCHRUN, "GROUP_WORLD_SIZE": "1", **SRUN},
            r"RANK and WORLD_SIZE \(torchrun\) say rank 1 of 4; "
            r"SLURM_PROCID and SLURM_STEP_NUM_TASKS \(srun\) say rank 1 of 2",
        ),
        ({**SRUN, **OPEN_MPI, "OMPI_COMM_WORLD_RANK": "0"}, r"\(srun\) say rank 1 of 2; .*\(mpirun .*\) say rank 0 of"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK and WORLD_SIZE .* got '4' and '4'; --rank 0"),
        ({"RANK": "-1", "WORLD_SIZE": "4"}, "got '-1' and '4'"),
        ({"PMI_RANK": "0", "PMI_SIZE": "0"}, "got '0' and '0'"),
        ({"PMI_RANK": "0", "PMI_SIZE": "two"}, "PMI_RANK and PMI_SIZE .* got '0' and 'two'"),
        ({"PMI_RANK": "0", "PMI_SIZE": "9" * 5000}, "PMI_SIZE"),
    ],
)
def test_environments_that_are_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        share_of(None, None, environment)
    assert share_of(0, 1, environment) == Share(0, 1, None)


@pytest.mark.parametrize(("rank", "size"), [(None, 3), (1, None), (-1, 3), (3, 3), (0, 0)])
def test_ranks_that_are_refused(
    rank: int | None, size: int | None, command: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [] if rank is None else ["--rank", str(rank)]
    more += [] if size is None else ["--world-size", str(size)]
    with pytest.raises(SystemExit):
        main([*command, "--out", str(tmp_path / "out"), *more])
    words = capsys.readouterr().err
    assert f"got {rank} and {size}" in words or f"--rank {rank} --world-size {size}" in words
    assert not (tmp_path / "out").exists()


def test_an_environment_that_is_there_by_accident(
    command: list[str],
    whole: dict[str, bytes],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A part is never written in silence, and a batch script writes all."""
    out = tmp_path / "out"
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert main([*command, "--out", str(out), "--quiet"]) == 0
    assert files_of(out) == whole
    shutil.rmtree(out)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert main([*command, "--out", str(out), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert not captured.out
    assert "rank 0 of 8: not whole yet: other ranks of torchrun have still to write model-00002" in captured.err
    assert main([*command, "--out", str(out), "--quiet", "--resume", *ranks(8)[1]]) == 0
    assert not capsys.readouterr().err  # the user has said that it is a part
    assert main([*command, "--out", str(out), "--quiet", "--resume", *ranks(1)[0]]) == 0
    assert files_of(out) == whole
