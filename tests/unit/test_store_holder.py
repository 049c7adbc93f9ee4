"""Who holds a store: known to live, known to be gone, or nobody knows."""

import os
import subprocess
import sys

from daemon.store.holder import is_gone, is_here, me, pid_of


def test_this_process_is_here_and_lives() -> None:
    for holder in (me(), f"{me()} #7f12", f"{me()} (samband db)"):
        assert pid_of(holder) == os.getpid()
        assert is_here(holder)
        assert not is_gone(holder)


def test_a_process_that_ended_is_gone_though_nobody_has_buried_it() -> None:
    program = "from daemon.store.holder import me; print(me(), flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        holder = child.stdout.readline().strip()
        assert child.stdout.read() == ""
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert pid_of(holder) == child.pid
        assert is_gone(holder)
    assert is_gone(holder)


def test_another_process_of_the_same_number_is_not_the_holder() -> None:
    head, _, began = me().rpartition(", ")
    assert is_gone(f"{head}, {int(began.rstrip(')')) - 1})")


def test_of_another_machine_nobody_knows() -> None:
    far = "process 1 on far-away (12345678.1, 9)"
    assert not is_here(far)
    assert not is_gone(far)
    assert not is_gone("somebody")
    assert pid_of("somebody") == 0
