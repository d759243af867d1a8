"""What on this machine will spoil a measurement."""
