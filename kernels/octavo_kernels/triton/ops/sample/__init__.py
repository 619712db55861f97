"""sample: one id per row of logits, in four launches of fixed shapes."""
