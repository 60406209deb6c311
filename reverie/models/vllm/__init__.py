"""vLLM as a supervised child: found, started, watched, and stopped with everything it started."""
