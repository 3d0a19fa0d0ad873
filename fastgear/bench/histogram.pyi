class Histogram:
    """Durations in nanoseconds.

    >>> histogram = Histogram()
    >>> for duration_ns in range(1, 101):
    ...     histogram.add(duration_ns)
    >>> histogram.percentile(50), len(histogram)
    (50, 100)
    """

    def __new__(cls) -> Histogram: ...
    def add(self, duration_ns: int) -> None: ...
    def percentile(self, percent: float) -> int:
        """What so many per cent of all are not above; 0 when there are none."""

    def __len__(self) -> int: ...
    @property
    def least(self) -> int: ...
    @property
    def most(self) -> int: ...
    @property
    def mean(self) -> float: ...
