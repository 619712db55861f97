"""What a worker refuses: programs before they are defined, steps before they run."""
