import os
import signal
import subprocess
import sys
import threading

import pytest

from common.errors import AGAIN
from common.files import ROOT
from common.stopping import StopSignal
from common.watch import Watch


class Rendezvous:
    """Lets threads exchange values as processes do."""

    def __init__(self, count: int) -> None:
        self.values: list = [None] * count
        self.barrier = threading.Barrier(count)

    def of(self, rank: int):
        def gather(value):
            self.values[rank] = value
            self.barrier.wait(10)
            return self.values

        return gather


@pytest.fixture
def watches():
    """Three watches that know each other."""
    meeting, found = Rendezvous(3), {}

    def join(rank: int) -> None:
        found[rank] = Watch(rank, 3, "127.0.0.1", meeting.of(rank))

    threads = [threading.Thread(target=join, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return [found[rank] for rank in range(3)]


def test_who_leaves_in_peace_is_not_missed(watches):
    first, second, third = watches
    for watch in (third, first, second):
        watch.__exit__(None)
    assert [watch.lost for watch in watches] == [None] * 3


def test_who_fails_is_missed_by_the_first_and_the_first_by_all(watches):
    first, second, third = watches
    third.__exit__(RuntimeError)
    assert first.has_lost(10)
    assert first.line() == "process 2 has ended before the work was done; process 0 stops"
    assert not second.has_lost(0.1)
    first.__exit__(RuntimeError)
    assert second.has_lost(10)
    assert second.lost == 0
    second.__exit__(RuntimeError)


WAITING_IN_VAIN = """
import os, time
from common import watch

watch.GRACE = 0.1
told, say = os.pipe()

def first(value):
    os.write(say, value[0].to_bytes(2) + value[1])
    return [value]

def second(_):
    said = os.read(told, 2 + watch.TOKEN)
    return [(int.from_bytes(said[:2]), said[2:])]

if os.fork():
    with watch.Watch(0, 2, "127.0.0.1", first):
        time.sleep(60)  # as in a collective call
else:
    watch.Watch(1, 2, "127.0.0.1", second)
    os.kill(os.getpid(), 9)
"""


def test_a_process_that_waits_in_vain_is_ended_with_a_line():
    command = [sys.executable, "-c", WAITING_IN_VAIN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    line = "error: process 1 has ended before the work was done; process 0 stops\n"
    assert (done.returncode, done.stderr) == (AGAIN, line)


def test_a_stop_signal_is_remembered_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
    assert signal.getsignal(signal.SIGTERM) is before
