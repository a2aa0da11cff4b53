"""Owns how many decimals a currency's minor unit has (ISO 4217); called by adapters."""

USUAL_DIGITS = 2
NO_MINOR_UNIT = frozenset(
    (
        *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"),
        *("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
    )
)
THREE_DECIMALS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))


def minor_digits(currency: str) -> int:
    """Decimals of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD; 2 for codes nobody lists."""
    if currency in NO_MINOR_UNIT:
        return 0
    return 3 if currency in THREE_DECIMALS else USUAL_DIGITS
