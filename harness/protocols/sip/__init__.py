"""SIP without I/O (RFC 3261): messages, transactions, dialogs; bytes in, events and bytes out, `now_ns` an argument."""
