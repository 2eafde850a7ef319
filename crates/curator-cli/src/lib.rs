//! What every program shares: logging, progress, exit codes, errors with hints
