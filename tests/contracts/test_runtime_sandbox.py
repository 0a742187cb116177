"""What a closed-in process can still reach: itself."""

import json
import subprocess
import sys

PROGRAM = """
import json, socket
from yunmo.runtime.sandbox import enter_sandbox

closed = enter_sandbox(None)
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
    itself = True
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
    reason = "connected"
except OSError as error:
    reason = error.strerror
print(json.dumps({"closed": closed, "itself": itself, "others": reason}))
"""


def test_a_closed_in_process_reaches_itself_and_nobody_else():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"closed": True, "itself": True, "others": "Network is unreachable"}
