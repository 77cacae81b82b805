"""What an export can be written as: one file a format, each with the runtime that reads it."""
