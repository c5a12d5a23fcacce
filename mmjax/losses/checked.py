"""What check_loss has measured of a loss."""

from typing import NamedTuple

SIZES = 2048, 8192  # of batches whose memory is compared
_PASSES = "passes all checks; what was compared, and how far apart (relative where above 1):"


class LossFigures(NamedTuple):
    """What check_loss has measured. Errors are relative to the larger of 1 and what is compared.

    Attributes:
      value: the loss of the batch, float32.
      gradient_error: of the gradient against central differences, the worst of three directions;
        NaN where they were not taken.
      jit_error: compiled against not compiled.
      row_error: rows in another order.
      name_error: names in another order.
      device_error: value and gradient on `devices` devices against one.
      devices: how many; simulated where there are none.
      half_error: bfloat16 embeddings against the same numbers in float32.
      absent_rows: `left out`, or `not left out` where the loss ignores context.present.
      bytes: temporary memory of value and gradient at the two batch sizes SIZES.
      memory: `O(N)` or `O(N^2)`, after these; `not measured`.
    """

    value: float
    gradient_error: float
    jit_error: float
    row_error: float
    name_error: float
    device_error: float
    devices: int
    half_error: float
    absent_rows: str
    bytes: tuple[int, ...]
    memory: str

    def __str__(self) -> str:
        at = lambda used, rows: f"{used / 2**20:.1f} MiB at {rows} rows"
        sizes = map(at, self.bytes, SIZES)
        lines = {
            "value": f"{self.value:.6g}",
            "gradient against differences": f"{self.gradient_error:.1e}",
            "compiled against not": f"{self.jit_error:.1e}",
            "rows in another order": f"{self.row_error:.1e}",
            "names in another order": f"{self.name_error:.1e}",
            f"{self.devices} devices against one": f"{self.device_error:.1e}",
            "bfloat16 against float32": f"{self.half_error:.1e}",
            "rows that lack a modality": self.absent_rows,
            "memory": ", ".join([self.memory, *sizes]),
        }
        wide = max(map(len, lines))
        table = [f"{name:{wide}}  {figure}" for name, figure in lines.items()]
        return "\n".join([_PASSES, *table])
