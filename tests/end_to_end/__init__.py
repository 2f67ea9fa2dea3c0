"""The client and the emulator over real sockets, in one process and in several."""
