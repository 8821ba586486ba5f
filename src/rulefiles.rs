//! Reads rule files and directories, and the rules built into the binary, for the engine.
