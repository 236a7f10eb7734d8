"""A started stack for tests of the preloaded library: only its loopback interface, no driver, no privilege."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from namespaces import command_output
from stack import BUILD, PROGRAM, PROGRAM6, SHIM, ReadySocket, utility  # noqa: F401

STACK = PROGRAM


class Stack:
    _next_instance = 900

    def __init__(self, folder=None, shards=1, options=(), arguments=(), program=PROGRAM):
        """`folder` has to be short: a socket address has room for little. Without one the stack brings its own. `options` are those
        of the protocol, `arguments` come before them."""
        self.own_folder = folder is None
        self.prefix = pathlib.Path(folder or tempfile.mkdtemp(prefix="iopkt-", dir="/tmp"))
        self.shards = shards
        self.options = list(options)
        self.program = program
        self.arguments = list(arguments)

    def __enter__(self):
        Stack._next_instance += 1
        self.log_file = open(self.prefix / "log", "wb")
        environment = dict(os.environ, IOPKT_RUN_DIR=str(self.prefix))
        self.instance = Stack._next_instance + os.getpid() % 1000 * 10
        command = [self.program, "--foreground", "-t", str(self.shards), "-i", str(self.instance),
                   *self.arguments, "-p", "tcpip", ",".join([f"prefix={self.prefix}", *self.options])]
        with ReadySocket(self.prefix / "ready") as ready:
            self.process = subprocess.Popen(command, stdout=self.log_file, stderr=subprocess.STDOUT, env=dict(environment, **ready.environment))
            ready.wait(self.process, self.log)
        return self

    def __exit__(self, kind, *_):
        running = self.running()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.log_file.close()
            log = self.log()
            if self.own_folder:
                shutil.rmtree(self.prefix, ignore_errors=True)
        # A sanitizer that has found something says so in the status.
        assert kind is not None or not running or self.process.returncode == 0, log

    def running(self):
        return self.process.poll() is None

    def log(self):
        return (self.prefix / "log").read_text(errors="replace")

    def utility(self, name, *words):
        """What a command of ours says of this stack."""
        return command_output([utility(name), *words], env=dict(self.environment(), LD_PRELOAD=""))

    def environment(self, **more):
        return dict(os.environ, SOCK=str(self.prefix), LD_PRELOAD=str(SHIM), **more)
