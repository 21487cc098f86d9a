"""From the bytes of a video to its frames: containers, sampling in time, decoding in a child process."""
