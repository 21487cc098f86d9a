"""From the bytes of a video or an image to its frames: containers, sampling in time, decoding in a child process."""
