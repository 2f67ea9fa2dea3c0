"""The official clients, as they are published, against the emulator over real HTTP and HTTPS."""
