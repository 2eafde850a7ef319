//! A stand-in GIBS server, a procedural Earth, and a command runner for tests
