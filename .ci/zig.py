"""A C compiler for other systems, with their headers: PyPI's ziglang, in a cache directory of its own."""
import os, subprocess, sys

CACHE = os.path.join(os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache')), 'pflow-ci', 'ziglang')


def zig():
    """The python that has it; installed if it is not there yet."""
    python = CACHE + '/bin/python'
    if not os.path.exists(python):
        subprocess.run([sys.executable, '-m', 'venv', CACHE], check=True)
        subprocess.run([python, '-m', 'pip', 'install', '-q', 'ziglang==0.17.1'], check=True)
    return python
