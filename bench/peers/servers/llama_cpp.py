"""llama.cpp's own HTTP server, as the package xllamacpp ships it (built for the processor it runs on); its defaults but for the slots.

python llama_cpp.py PORT MODEL.gguf
"""

import signal
import sys

import xllamacpp

SLOTS, CONTEXT_TOKENS = 16, 1024


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[2]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(sys.argv[1])
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * CONTEXT_TOKENS
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main()
