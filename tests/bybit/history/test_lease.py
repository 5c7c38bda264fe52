import os
import subprocess
import sys

from bybit.history.lease import is_gone, owner_name


def test_a_holder_on_this_machine_is_told_from_one_whose_process_has_ended() -> None:
    program = "from bybit.history.lease import owner_name; print(owner_name())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert is_gone(done.stdout.strip())
    assert not is_gone(owner_name())


def test_a_holder_elsewhere_counts_as_alive() -> None:
    place, _, pid, holder = owner_name().split("/")
    assert not is_gone(f"another-host/{place}/{2**22 + 1}/{holder}")
    assert not is_gone("somebody")
    assert not is_gone("")
    assert int(pid) == os.getpid()
