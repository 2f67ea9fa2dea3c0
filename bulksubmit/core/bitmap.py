"""A set of ordinals, one bit each, in blocks."""

BLOCK = 65_536  # Ordinals a block: 8 KiB.
_BLOCK_BYTES = BLOCK // 8
_FULL = b"\xff"


class Bitmap:
    """A set of ordinals. Ten million of them take 1.2 MB, wherever they lie.

    Attributes:
        changed: The numbers of the blocks that were changed since the caller cleared it.
    """

    def __init__(self) -> None:
        self.changed: set[int] = set()
        self._blocks: dict[int, bytearray] = {}

    def load(self, number: int, bits: bytes) -> None:
        """Set a block's bits, as block() gave them; zero bytes at the end may be left out."""
        assert len(bits) <= _BLOCK_BYTES
        self._blocks[number] = bytearray(bits.ljust(_BLOCK_BYTES, b"\0"))

    def add_block(self, number: int, bits: bytes) -> None:
        """Add the ordinals of a block, as block() gave its bits."""
        ours = int.from_bytes(self._changing(number), "little")
        both = ours | int.from_bytes(bits, "little")
        self._blocks[number][:] = both.to_bytes(_BLOCK_BYTES, "little")

    def blocks(self, first: int, end: int) -> list[tuple[int, bytes]]:
        """Numbers and bits of all blocks from number ``first`` on and below ``end``."""
        return [(n, bytes(bits)) for n, bits in self._blocks.items() if first <= n < end]

    def block(self, number: int) -> bytes | None:
        """A block's bits, the least ordinal in the lowest bit; None if none was ever set."""
        bits = self._blocks.get(number)
        return None if bits is None else bytes(bits)

    def add(self, ordinal: int) -> None:
        """Add one ordinal."""
        number, place = divmod(ordinal, BLOCK)
        self._changing(number)[place >> 3] |= 1 << (place & 7)

    def add_range(self, first: int, end: int) -> None:
        """Add all ordinals from ``first`` on and below ``end``."""
        while first < end:
            number, place = divmod(first, BLOCK)
            length = min(end - first, BLOCK - place)
            bits = self._changing(number)
            whole_from, whole_to = (place + 7) >> 3, (place + length) >> 3
            if whole_from >= whole_to:  # Within two bytes at most.
                for bit in range(place, place + length):
                    bits[bit >> 3] |= 1 << (bit & 7)
            else:
                if place & 7:
                    bits[place >> 3] |= (_FULL[0] << (place & 7)) & 0xFF
                bits[whole_from:whole_to] = _FULL * (whole_to - whole_from)
                if (place + length) & 7:
                    bits[whole_to] |= (1 << ((place + length) & 7)) - 1
            first += length

    def remove(self, others: "Bitmap") -> None:
        """Remove all ordinals of another set."""
        for number, bits in others._blocks.items():  # noqa: SLF001 - of its own kind
            if number in self._blocks:
                ours = int.from_bytes(self._blocks[number], "little")
                left = ours & ~int.from_bytes(bits, "little")
                self._changing(number)[:] = left.to_bytes(_BLOCK_BYTES, "little")

    def __contains__(self, ordinal: object) -> bool:
        assert isinstance(ordinal, int)
        number, place = divmod(ordinal, BLOCK)
        bits = self._blocks.get(number)
        return bits is not None and bool(bits[place >> 3] >> (place & 7) & 1)

    def __len__(self) -> int:
        return sum(int.from_bytes(bits, "little").bit_count() for bits in self._blocks.values())

    def missing(self, first: int, end: int) -> int:
        """How many ordinals from ``first`` on and below ``end`` are not in the set."""
        missing = 0
        while first < end:
            number, place = divmod(first, BLOCK)
            length = min(end - first, BLOCK - place)
            bits = int.from_bytes(self._blocks.get(number, b""), "little")
            missing += length - ((bits >> place) & ((1 << length) - 1)).bit_count()
            first += length
        return missing

    def part(self, first: int, end: int) -> "Bitmap":
        """The ordinals from ``first`` on and below ``end``, each less by ``first``.

        Both must be where a block begins.
        """
        number, place = divmod(first, BLOCK)
        behind, end_place = divmod(end, BLOCK)
        assert place == end_place == 0
        part = Bitmap()
        for each, bits in self._blocks.items():
            if number <= each < behind:
                part.load(each - number, bytes(bits))
        return part

    def _changing(self, number: int) -> bytearray:
        self.changed.add(number)
        bits = self._blocks.get(number)
        if bits is None:
            bits = self._blocks[number] = bytearray(_BLOCK_BYTES)
        return bits
