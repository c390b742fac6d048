"""Ctrl-C while the program is still importing its own modules."""

import subprocess
import sys

import pytest

_PROGRAM = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)
from BYOL.cli.main import main
sys.exit(main(["pretrain", "--epochs", "0"]))
"""


@pytest.mark.parametrize("module", ["BYOL._console", "BYOL.config", "yaml", "BYOL.cli.parser"])
def test_an_interrupt_during_the_imports_is_one_line(module):
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, module], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "byol: stopped\n")


def test_the_entry_point_imports_nothing_before_its_handler():
    code = "import sys; import BYOL.cli.main; print(*(m for m in sys.modules if 'BYOL' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["BYOL", "BYOL.cli", "BYOL.cli.main"]
