"""The CPU library for another processor, run by an emulator (qemu): how its bits are tested without that machine."""
