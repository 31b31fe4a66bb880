"""trigflow as its own command serves it: `trigflow serve TARGET --port PORT`."""

import sys

from trigflow.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", "benchmarks.peers.trigflow_app:app", "--port", sys.argv[1]]))
